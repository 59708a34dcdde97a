// The open photograph, or what is in its box, as an example of the class that is made.

import { UNREADABLE } from "./api.js";
import { byId, jpegOf } from "./dom.js";
import { state } from "./state.js";

let last = {}; // a draft is previewed often with one photograph

// As POST /classes takes it, a data: URL.
export function example() {
  const { image, box } = state;
  if (last.image !== image || last.box !== box) {
    const file = box ? jpegOf(byId("image"), box) : Promise.resolve(image.file);
    last = { image, box, url: file.then(dataUrl) };
  }
  return last.url;
}

function dataUrl(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result));
    reader.addEventListener("error", () => failed(new Error(UNREADABLE)));
    reader.readAsDataURL(blob);
  });
}
