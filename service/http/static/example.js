// A picture to begin with, where the classes are birds.

import { byId, jpegOf, show } from "./dom.js";
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
  const whole = { x: 0, y: 0, w: image.naturalWidth, h: image.naturalHeight };
  return new File([await jpegOf(image, whole)], "drawn-bird.jpg", { type: "image/jpeg" });
}
