// A map of where the network looked, over the photograph: darker where the map is low, glowing
// where it is high, as the service's own picture has it. How the map is smoothed is the page's own.

import { byId, show } from "./dom.js";
import { state } from "./state.js";

const LONGEST = 480; // pixels of the canvas; the browser smooths what it enlarges
const DIMMED = 0.55; // what is left of the photograph's light where the map is lowest
const GLOW = [255, 170, 40];
const GLOW_SHARE = 0.55;

// `grid`: rows of numbers, at least 0, over the box or the whole photograph.
export function paint(grid) {
  const canvas = byId("heat");
  const { width, height } = state.image;
  if (!width) return; // a kind of file that the browser can't show
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const box = state.box ?? { x: 0, y: 0, w: width, h: height };
  const [x, y] = [Math.round(box.x * scale), Math.round(box.y * scale)];
  const w = Math.max(1, Math.round(box.w * scale));
  const h = Math.max(1, Math.round(box.h * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = `rgb(0 0 0 / ${1 - DIMMED})`;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.putImageData(layer(enlarged(grid, w, h), w, h), x, y);
  show(canvas, true);
  show(byId("heat-strength-label"), true);
}

export function clear() {
  show(byId("heat"), false);
  show(byId("heat-strength-label"), false);
}

export function startHeat() {
  const strength = byId("heat-strength");
  strength.addEventListener("input", () => {
    byId("heat").style.setProperty("opacity", String(strength.valueAsNumber / 100));
  });
}

// Strengths from 0 to 1 -> what lies over the photograph.
function layer(strengths, width, height) {
  const image = new ImageData(width, height);
  for (let at = 0; at < strengths.length; at += 1) {
    const strength = strengths[at];
    const share = GLOW_SHARE * strength;
    const kept = (DIMMED + (1 - DIMMED) * strength) * (1 - share); // of the photograph's light
    const alpha = 1 - kept;
    for (let channel = 0; channel < 3; channel += 1) {
      image.data[4 * at + channel] = alpha > 0 ? (GLOW[channel] * share) / alpha : 0;
    }
    image.data[4 * at + 3] = 255 * alpha;
  }
  return image;
}

// A cubic B-spline over the grid's cells: smooth, and it never leaves the range of its values.
function enlarged(grid, width, height) {
  const rows = grid.length;
  const columns = grid[0].length;
  const down = weights(rows, height);
  const across = weights(columns, width);
  const between = grid.map((row) =>
    across.map((parts) => parts.reduce((sum, [at, part]) => sum + part * row[at], 0)),
  );
  const result = new Float32Array(width * height);
  let top = 0;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      let sum = 0;
      for (const [at, part] of down[y]) sum += part * between[at][x];
      result[y * width + x] = sum;
      top = Math.max(top, sum);
    }
  }
  return top > 0 ? result.map((value) => value / top) : result;
}

// For each of `length` pixels, the cells that it is made of and their parts.
function weights(cells, length) {
  return Array.from({ length }, (_, pixel) => {
    const place = ((pixel + 0.5) * cells) / length - 0.5;
    const first = Math.floor(place);
    const t = place - first;
    const parts = [
      (1 - t) ** 3 / 6,
      (3 * t ** 3 - 6 * t ** 2 + 4) / 6,
      (-3 * t ** 3 + 3 * t ** 2 + 3 * t + 1) / 6,
      t ** 3 / 6,
    ];
    return parts.map((part, k) => [Math.min(Math.max(first - 1 + k, 0), cells - 1), part]);
  });
}
