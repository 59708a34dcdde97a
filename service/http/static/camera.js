// A picture from the camera; where the page may not use it, from the device's camera app.

import { byId, jpegOf, show, tell } from "./dom.js";

const INSECURE =
  "A browser gives the camera to pages of https or of this machine alone. " +
  "Choose a photograph instead.";
const REFUSED = {
  NotAllowedError:
    "The browser was told not to let this page use the camera. Allow it in the site's settings, " +
    "or choose a photograph instead.",
  NotFoundError: "No camera was found. Choose a photograph instead.",
  NotReadableError: "Another program uses the camera. Close that one and try again.",
};

export function startCamera(receive) {
  const dialog = byId("camera");
  const video = byId("camera-video");
  const take = byId("camera-take");
  const input = byId("camera-file");
  let stream = null;

  async function open() {
    tell(byId("camera-problem"), null);
    show(byId("camera-file-part"), false);
    show(video, true);
    take.disabled = true;
    dialog.showModal();
    try {
      if (!navigator.mediaDevices) throw new DOMException("", "InsecureError");
      const asked = { facingMode: "environment", width: { ideal: 1920 } };
      const opened = await navigator.mediaDevices.getUserMedia({ video: asked });
      stream = opened;
      if (!dialog.open) return stop();
      video.srcObject = opened;
      await video.play();
      take.disabled = false;
    } catch (error) {
      tell(byId("camera-problem"), REFUSED[error.name] ?? INSECURE);
      show(byId("camera-file-part"), true);
      show(video, false);
    }
  }

  function stop() {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
  }

  byId("camera-open").addEventListener("click", open);
  byId("camera-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", stop);
  take.addEventListener("click", async () => {
    const taken = await jpegOf(video, { x: 0, y: 0, w: video.videoWidth, h: video.videoHeight });
    dialog.close();
    receive([new File([taken], "camera.jpg", { type: "image/jpeg" })]);
  });
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = "";
    dialog.close();
    if (files.length) receive(files);
  });
}
