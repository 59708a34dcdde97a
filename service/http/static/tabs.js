// Tabs as the ARIA practices have them: one stop for the tab key, arrows between them.

import { byId, show } from "./dom.js";
import { emit, state } from "./state.js";

const NAMES = ["why", "make", "classes", "many"];
const KEYS = { ArrowRight: 1, ArrowLeft: -1 };

export function startTabs() {
  for (const name of NAMES) {
    const tab = byId(`tab-${name}`);
    tab.addEventListener("click", () => choose(name));
    tab.addEventListener("keydown", (event) => {
      const at = NAMES.indexOf(name);
      let next = NAMES[(at + (KEYS[event.key] ?? 0) + NAMES.length) % NAMES.length];
      if (event.key === "Home") next = NAMES[0];
      if (event.key === "End") next = NAMES.at(-1);
      if (next === name) return;
      event.preventDefault();
      choose(next);
      byId(`tab-${next}`).focus();
    });
  }
}

export function choose(name) {
  if (state.tab === name) return;
  state.tab = name;
  for (const other of NAMES) {
    const tab = byId(`tab-${other}`);
    tab.setAttribute("aria-selected", String(other === name));
    tab.tabIndex = other === name ? 0 : -1;
    show(byId(`panel-${other}`), other === name);
  }
  emit("tab", name);
}
