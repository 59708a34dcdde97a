// The open photograph, or what is in its box, as an example of the class that is made.

import { byId, make } from "./dom.js";
import { state } from "./state.js";

let last = {}; // a draft is previewed often with one photograph

// As POST /classes takes it, a data: URL.
export function example() {
  const { image, box } = state;
  if (last.image !== image || last.box !== box) {
    last = { image, box, url: Promise.resolve(box ? inside(box) : image.file).then(dataUrl) };
  }
  return last.url;
}

function inside({ x, y, w, h }) {
  const canvas = make("canvas", { width: w, height: h });
  canvas.getContext("2d").drawImage(byId("image"), x, y, w, h, 0, 0, w, h);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
}

function dataUrl(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result));
    reader.addEventListener("error", () =>
      failed(new Error("The photograph's file can't be read any more. Open it again.")),
    );
    reader.readAsDataURL(blob);
  });
}
