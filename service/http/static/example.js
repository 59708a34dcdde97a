// A picture to begin with, where the classes are birds.

import { byId, show } from "./dom.js";
import { notice } from "./notices.js";
import { on, state } from "./state.js";

const BIRDS = /bill|beak|wing/;

export function startExample(receive) {
  const button = byId("example");
  on("attributes", () => show(button, state.attributes.some(({ name }) => BIRDS.test(name))));
  button.addEventListener("click", async () => {
    try {
      receive([await drawn("static/bird.svg")]);
    } catch {
      notice("The drawing did not come. Choose a photograph.", { kind: "problem" });
    }
  });
}

// The service reads no SVG: a JPEG of it.
async function drawn(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext("2d").drawImage(image, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  return new File([blob], "drawn-bird.jpg", { type: "image/jpeg" });
}
