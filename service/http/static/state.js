// What the parts of the page share, and how they hear of each other.

export const state = {
  image: null, // { file, url, width, height } of the upright original
  box: null, // { x, y, w, h } in pixels of the upright original
  ranking: null, // the answer of /classify for the image
  attributes: [], // of GET /attributes
  classes: [], // of GET /classes, all pages
  tab: "why",
};

const bus = new EventTarget();

// image, box, scope, ranking, preview, chosen, attributes, classes, draft, tab; and of the service:
// outage, recovered, ready, revision
export function on(names, listen) {
  for (const name of names.split(" ")) {
    bus.addEventListener(name, (event) => listen(event.detail));
  }
}

export function emit(name, detail) {
  bus.dispatchEvent(new CustomEvent(name, { detail }));
}
