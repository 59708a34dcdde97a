// The sheet as sliders, by group. A group's sliders are made when it is opened first.

import { byId, icon, later, make, show, styled } from "./dom.js";
import { draft, setValue } from "./draft.js";
import { on, state } from "./state.js";
import { counted, groupWords, searchOf, short, valueWords } from "./words.js";

// { words, details, summary, body, members: [{ index, words, text, row }], opened }
let groups = [];

export function startSliders() {
  on("attributes", build);
  on("draft", update);
  byId("attribute-search").addEventListener("input", later(80, filter));
  byId("only-changed").addEventListener("change", filter);
}

function build() {
  const byGroup = Map.groupBy(
    state.attributes.map((attribute, index) => ({ ...attribute, index })),
    ({ group }) => group,
  );
  groups = [...byGroup].map(([name, attributes]) => {
    const summary = make("span", { class: "group-values" });
    const body = make("div", { class: "group-body" });
    const title = make("span", { class: "group-name" }, groupWords(name));
    const details = make(
      "details",
      { class: "group" },
      make("summary", {}, title, summary),
      body,
    );
    const members = attributes.map(({ index, name: full }) => {
      const words = valueWords(full, name);
      const text = `${groupWords(name)} ${words} ${full}`;
      return { index, words, text, row: null };
    });
    const group = { words: groupWords(name), details, summary, body, members };
    details.addEventListener("toggle", () => details.open && fill(group));
    return group;
  });
  byId("groups").replaceChildren(...groups.map(({ details }) => details));
  filter();
}

function fill(group) {
  for (const member of group.members) {
    if (member.row) continue;
    member.row = slider(member.index, member.words, group.words);
    group.body.append(member.row.element);
  }
  update();
}

function slider(index, words, groupName) {
  const { min, max, mean } = state.attributes[index];
  const id = `value-${index}`;
  const range = make("input", { type: "range", id, min, max, step: "any" });
  const label = `${groupName}: ${words}, as a number`;
  const number = make("input", {
    type: "number", min, max, step: "any", inputmode: "decimal", "aria-label": label,
  });
  const back = make(
    "button",
    { type: "button", class: "icon-button", "aria-label": `${words}: back to the average` },
    icon("undo"),
  );
  const track = styled(make("span", { class: "track" }, range), {
    mean: max > min ? (mean - min) / (max - min) : 0,
  });
  const element = make(
    "div",
    { class: "slider" },
    make("label", { for: id }, words),
    track,
    number,
    back,
  );
  range.addEventListener("input", () => setValue(index, range.valueAsNumber));
  number.addEventListener("change", () => {
    if (Number.isFinite(number.valueAsNumber)) setValue(index, number.valueAsNumber);
    else update();
  });
  back.addEventListener("click", () => {
    setValue(index, mean);
    range.focus();
  });
  return { element, range, number, back };
}

function update() {
  for (const { members, summary, details } of groups) {
    const changed = [];
    for (const { index, words, row } of members) {
      const value = draft.values[index];
      const isChanged = draft.isChanged(index);
      if (isChanged) changed.push({ words, value });
      if (!row) continue;
      if (row.range.valueAsNumber !== value) row.range.value = String(value);
      if (document.activeElement !== row.number || row.number.valueAsNumber !== value) {
        row.number.value = String(Number(value.toFixed(2)));
      }
      row.element.classList.toggle("changed", isChanged);
      row.back.classList.toggle("idle", !isChanged);
      row.back.disabled = !isChanged;
    }
    changed.sort((a, b) => b.value - a.value);
    const strongest = changed.slice(0, 2).map(({ words, value }) => `${words} ${short(value)}`);
    const more = changed.length > 2 ? ` +${changed.length - 2}` : "";
    summary.textContent = strongest.length
      ? strongest.join(", ") + more
      : counted(members.length, "value");
    details.classList.toggle("changed", changed.length > 0);
  }
  if (byId("only-changed").checked) filter();
}

// Shows what has all words of the search, in groups that are opened for it.
function filter() {
  const search = searchOf(byId("attribute-search").value);
  const onlyChanged = byId("only-changed").checked;
  const isFiltered = !search.isEmpty || onlyChanged;
  let count = 0;
  for (const group of groups) {
    const matching = group.members.filter(
      ({ index, text }) => search.finds(text) && (!onlyChanged || draft.isChanged(index)),
    );
    count += matching.length;
    show(group.details, matching.length > 0);
    if (isFiltered && matching.length && !group.details.open) {
      group.opened = true; // by us: closed again with the search
      group.details.open = true;
      fill(group);
    } else if (!isFiltered && group.opened) {
      group.opened = false;
      group.details.open = false;
    }
    const kept = new Set(matching);
    for (const member of group.members) if (member.row) show(member.row.element, kept.has(member));
  }
  byId("attribute-count").textContent = isFiltered
    ? `${counted(count, "attribute")} of ${state.attributes.length}`
    : `${counted(state.attributes.length, "attribute")} in ${counted(groups.length, "group")}; ` +
      "the mark on each is the average class";
}
