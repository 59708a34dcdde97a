// Light, dark, or as the system has it.

import { byId } from "./dom.js";

const NEXT = { system: "light", light: "dark", dark: "system" };

export function startAppearance() {
  const root = document.documentElement;
  const button = byId("theme");
  const say = () => {
    byId("theme-words").textContent = `Theme: ${root.dataset.theme}`;
  };
  button.addEventListener("click", () => {
    root.dataset.theme = NEXT[root.dataset.theme] ?? "system";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      // storage is forbidden: it holds for this visit
    }
    say();
  });
  say();
}
