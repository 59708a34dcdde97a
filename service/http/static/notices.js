// What was done, with a way back. The last few stay until they are closed.

import { byId, icon, make } from "./dom.js";

const MOST = 3;

// notice("Saved.", { undo: async () => ..., kind: "problem" })
export function notice(words, { undo = null, kind = "done" } = {}) {
  const place = byId("notices");
  const element = make("div", { class: `notice ${kind}` }, make("p", {}, words));
  const close = () => element.remove();
  if (undo) {
    const back = make("button", { type: "button", class: "button small" }, icon("undo"), "Undo");
    back.addEventListener("click", async () => {
      back.disabled = true;
      try {
        await undo();
        close();
      } catch (error) {
        back.disabled = false;
        notice(error.message, { kind: "problem" });
      }
    });
    element.append(back);
  }
  const label = { type: "button", class: "icon-button", "aria-label": "Close this message" };
  element.append(make("button", { ...label, onclick: close }, icon("close")));
  place.append(element);
  while (place.children.length > MOST) place.firstElementChild.remove();
}
