// The list of classes: searched, removed, and brought back.

import { call, lastWrite, pathOf, pause, register, remove } from "./api.js";
import { byId, icon, later, make } from "./dom.js";
import { notice } from "./notices.js";
import { takeSheet } from "./starts.js";
import { emit, on, state } from "./state.js";
import { choose } from "./tabs.js";
import { counted, searchOf } from "./words.js";

const PAGE = 1000;
const SHOWN = 200;
// For a replica that has yet to hear of this page's last write.
const TRIES = 10;
const BETWEEN_MS = 200;

let known = null; // the revision of the list
let refreshing = null;

export function startClasses() {
  byId("class-search").addEventListener("input", later(80, paint));
  on("classes", paint);
  on("tab", (name) => name === "classes" && refresh());
  // Others may have made some. An older revision is that of a replica that has yet to hear of it.
  on("revision", (revision) => known !== null && revision > known && refresh());
  on("recovered", refresh);
  // It was starting when the page was opened; the page itself begins with the attributes.
  on("ready", () => known === null && state.attributes.length && refresh());
}

export function refresh() {
  refreshing ??= loadClasses()
    .catch(tellProblem)
    .finally(() => {
      refreshing = null;
    });
}

function tellProblem(error) {
  notice(error.message, { kind: "problem" });
}

export async function loadClasses() {
  let { found, revision } = await allClasses();
  for (let tries = 1; revision < lastWrite && tries < TRIES; tries += 1) {
    await pause(BETWEEN_MS);
    ({ found, revision } = await allClasses());
  }
  const told = (items) => JSON.stringify(items.map((item) => [item.class_id, item.revision]));
  const isNew = told(found) !== told(state.classes);
  state.classes = found;
  known = revision;
  if (isNew) emit("classes");
}

async function allClasses() {
  const found = [];
  let after = null;
  let revision = Infinity; // the oldest of the pages: what changes while they come will be seen
  do {
    const page = await call("classes", { query: { limit: PAGE, after }, patient: true });
    found.push(...page.classes);
    revision = Math.min(revision, page.revision);
    after = page.next;
  } while (after !== null);
  return { found, revision };
}

function paint() {
  const search = searchOf(byId("class-search").value);
  const matching = state.classes.filter(({ name, class_id: id }) => search.finds(`${name} ${id}`));
  // What was made here comes first: that is what one looks for.
  matching.sort((a, b) => Number(a.seen) - Number(b.seen) || a.name.localeCompare(b.name));
  byId("classes").replaceChildren(...matching.slice(0, SHOWN).map(row));
  const more = matching.length > SHOWN ? `; the first ${SHOWN} are shown, search for others` : "";
  byId("class-count").textContent = search.isEmpty
    ? `${counted(matching.length, "class", "classes")}${more}`
    : `${counted(matching.length, "class", "classes")} of ${state.classes.length}${more}`;
}

function row(item) {
  const start = make(
    "button",
    { type: "button", class: "icon-button", title: "Start a new class from it" },
    icon("start"),
  );
  start.setAttribute("aria-label", `Start a new class from ${item.name}`);
  start.addEventListener("click", async () => {
    try {
      await takeSheet(item.class_id);
      choose("make");
      byId("make-name").focus();
    } catch (error) {
      tellProblem(error);
    }
  });
  const buttons = [start];
  if (item.origin === "registered") {
    const bin = make(
      "button",
      { type: "button", class: "icon-button", title: "Delete it" },
      icon("remove"),
    );
    bin.setAttribute("aria-label", `Delete ${item.name}`);
    bin.addEventListener("click", () => removeClass(item, bin));
    buttons.push(bin);
  }
  return make(
    "li",
    { class: "class" },
    make(
      "div",
      { class: "class-words" },
      make("span", { class: "class-name" }, item.name),
      make(
        "span",
        { class: "class-id" },
        // First, for a long id has its end cut off.
        item.examples ? `${counted(item.examples, "example photograph")} · ` : null,
        item.class_id,
      ),
    ),
    make("span", { class: `tag ${item.seen ? "seen" : "unseen"}` }, item.origin),
    ...buttons,
  );
}

async function removeClass(item, button) {
  button.disabled = true;
  try {
    const { name, attributes, metadata, examples = 0 } = await call(pathOf(item.class_id));
    await remove(item.class_id);
    await loadClasses();
    byId("class-search").focus();
    const content = { class_id: item.class_id, name, attributes, metadata };
    const lost = examples
      ? ` Its ${counted(examples, "example photograph")} would not come back.`
      : "";
    notice(`“${name}” is deleted.${lost}`, {
      undo: async () => {
        await register(content);
        await loadClasses();
      },
    });
  } catch (error) {
    button.disabled = false;
    tellProblem(error);
    loadClasses().catch(tellProblem);
  }
}
