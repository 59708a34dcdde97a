// The open photograph.

import { byId, show, styled, tell } from "./dom.js";
import { emit, state } from "./state.js";

export async function open(file) {
  const image = byId("image");
  if (state.image) URL.revokeObjectURL(state.image.url);
  const opened = { file, url: URL.createObjectURL(file), width: 0, height: 0 };
  state.image = opened;
  state.box = null;
  tell(byId("image-problem"), null);
  image.src = opened.url;
  image.alt = `The photograph ${file.name}`;
  const visible = await image.decode().then(() => true, () => false);
  if (state.image !== opened) return; // another one came meanwhile
  if (visible) {
    // Upright: browsers turn a photograph as its EXIF data say.
    opened.width = image.naturalWidth;
    opened.height = image.naturalHeight;
    styled(byId("picture"), { ratio: opened.width / opened.height });
  }
  show(byId("picture"), visible);
  show(byId("empty"), !visible);
  byId("box-draw").disabled = !visible;
  emit("image", opened);
}

// A line that runs over the photograph while something is asked about it.
export function setBusy(isBusy) {
  byId("stage").classList.toggle("busy", isBusy);
}

export function sayProblem(words) {
  tell(byId("image-problem"), words);
}
