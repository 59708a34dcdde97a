// The box around the object: drawn, typed, or moved by arrow keys.

import { byId, show, styled } from "./dom.js";
import { emit, on, state } from "./state.js";

const LEAST = 0.01; // of the photograph's side; less is a click
const NUMBERS = ["x", "y", "w", "h"];
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

let drawing = null; // where the pointer went down, in pixels of the photograph

export function startBox() {
  const pane = byId("pane");
  pane.addEventListener("pointerdown", begin);
  pane.addEventListener("pointermove", move);
  pane.addEventListener("pointerup", end);
  pane.addEventListener("pointercancel", cancel);
  byId("box").addEventListener("keydown", key);
  byId("box-draw").addEventListener("click", toggle);
  byId("box-clear").addEventListener("click", () => set(null));
  for (const name of NUMBERS) byId(`box-${name}`).addEventListener("change", typed);
  on("image", () => {
    paint();
    fill();
  });
}

function isOn() {
  return byId("box-draw").getAttribute("aria-pressed") === "true";
}

function toggle() {
  const pressed = !isOn();
  byId("box-draw").setAttribute("aria-pressed", String(pressed));
  byId("pane").classList.toggle("drawing", pressed);
  show(byId("box-numbers"), pressed);
  fill();
}

// The nearest box of whole pixels inside the photograph.
function inside({ x, y, w, h }) {
  const { width, height } = state.image;
  const left = Math.round(Math.min(Math.max(x, 0), width - 1));
  const top = Math.round(Math.min(Math.max(y, 0), height - 1));
  return {
    x: left,
    y: top,
    w: Math.round(Math.min(Math.max(w, 1), width - left)),
    h: Math.round(Math.min(Math.max(h, 1), height - top)),
  };
}

function set(box) {
  state.box = box && inside(box);
  paint();
  fill();
  emit("box", state.box);
}

function paint(box = state.box) {
  const element = byId("box");
  show(element, box !== null);
  if (!box) return;
  const { width, height } = state.image;
  styled(element, {
    x: `${(100 * box.x) / width}%`,
    y: `${(100 * box.y) / height}%`,
    w: `${(100 * box.w) / width}%`,
    h: `${(100 * box.h) / height}%`,
  });
}

function fill() {
  if (!state.image) return;
  const shown = state.box ?? { x: 0, y: 0, w: state.image.width, h: state.image.height };
  for (const name of NUMBERS) byId(`box-${name}`).value = String(shown[name]);
}

function typed() {
  const box = Object.fromEntries(NUMBERS.map((name) => [name, byId(`box-${name}`).valueAsNumber]));
  if (Object.values(box).every(Number.isFinite)) set(box);
  else fill();
}

function key(event) {
  if (event.key === "Delete" || event.key === "Backspace") {
    event.preventDefault();
    set(null);
    byId("box-draw").focus();
  }
  const step = STEPS[event.key];
  if (!step) return;
  event.preventDefault();
  const { width, height } = state.image;
  const [dx, dy] = [step[0] * Math.ceil(width / 100), step[1] * Math.ceil(height / 100)];
  const { x, y, w, h } = state.box;
  if (event.shiftKey) set({ x, y, w: w + dx, h: h + dy });
  else {
    set({
      x: Math.min(Math.max(x + dx, 0), width - w),
      y: Math.min(Math.max(y + dy, 0), height - h),
      w,
      h,
    });
  }
}

function point(event) {
  const frame = byId("pane").getBoundingClientRect();
  return {
    x: (Math.min(Math.max((event.clientX - frame.left) / frame.width, 0), 1)) * state.image.width,
    y: (Math.min(Math.max((event.clientY - frame.top) / frame.height, 0), 1)) * state.image.height,
  };
}

function between(a, b) {
  return {
    x: Math.min(a.x, b.x),
    y: Math.min(a.y, b.y),
    w: Math.abs(a.x - b.x),
    h: Math.abs(a.y - b.y),
  };
}

// A finger scrolls the page, unless it was said that it draws.
function begin(event) {
  if (event.button !== 0 || (event.pointerType === "touch" && !isOn())) return;
  event.preventDefault();
  byId("pane").setPointerCapture(event.pointerId);
  drawing = point(event);
}

function move(event) {
  if (drawing) paint(between(drawing, point(event)));
}

function end(event) {
  if (!drawing) return;
  const box = between(drawing, point(event));
  drawing = null;
  const { width, height } = state.image;
  if (box.w < LEAST * width || box.h < LEAST * height) return paint();
  if (!isOn()) toggle();
  set(box);
}

function cancel() {
  drawing = null;
  paint();
}
