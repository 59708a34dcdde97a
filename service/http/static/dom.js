// Elements. Text from elsewhere enters as text nodes and attributes alone, never as markup.

const SVG = "http://www.w3.org/2000/svg";

export function byId(id) {
  return document.getElementById(id);
}

// make("p", { class: "hint", onclick: f }, "text", element, null)
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

// A style that a sheet reads as var(--name): `style` attributes are forbidden by the policy.
export function styled(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    element.style.setProperty(`--${name}`, String(value));
  }
  return element;
}

export function show(element, visible) {
  element.hidden = !visible;
}

// Words in an element, which is hidden while there are none.
export function tell(element, words) {
  element.textContent = words ?? "";
  element.hidden = !words;
}

export function later(milliseconds, work) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}

// What a box of a picture or video shows, as a JPEG.
export function jpegOf(shown, { x, y, w, h }) {
  const canvas = make("canvas", { width: w, height: h });
  canvas.getContext("2d").drawImage(shown, x, y, w, h, 0, 0, w, h);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
}

export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
