// Why a class scored as it did: the attributes for and against it, and where they were read.

import { boxQuery, isAbort, sendImage } from "./api.js";
import { byId, download, icon, make, show, styled } from "./dom.js";
import * as heat from "./heat.js";
import { notice } from "./notices.js";
import { setBusy } from "./stage.js";
import { emit, on, state } from "./state.js";
import { choose } from "./tabs.js";
import { attributeWords, score, short, signed } from "./words.js";

const FIRST = 6; // attributes of each side
const LEAST = 1e-3; // of the score; less is nothing

let asking = new AbortController();
let item = null; // the class
let found = null; // { explanation, maps: attribute -> grid }
let attribute = null; // whose map alone is shown
let all = false;

export function startWhy() {
  on("chosen", explain);
  on("image box", forget);
  // The photograph is seen as it is while something else is done with it.
  on("tab", paintHeat);
  on("classes", () => {
    // A class that was removed has no reasons any more.
    if (item && !state.classes.some((known) => known.class_id === item.class_id)) forget();
  });
}

function forget() {
  asking.abort();
  if (!item) return;
  item = found = attribute = null;
  heat.clear();
  show(byId("why"), false);
  show(byId("why-empty"), true);
  emit("chosen", null);
}

async function explain(chosen) {
  if (!chosen) return;
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  item = chosen;
  found = attribute = null;
  all = false;
  choose("why");
  show(byId("why-empty"), false);
  show(byId("why"), true);
  byId("why").setAttribute("aria-busy", "true");
  setBusy(true);
  try {
    const query = { class_id: chosen.class_id, box: boxQuery(state.box) };
    const answer = await sendImage("explain", state.image.file, { query, signal });
    const maps = new Map(
      answer.maps.flatMap(({ attributes, map }) => attributes.map((name) => [name, map])),
    );
    found = { explanation: answer.explanations[0], maps };
    paint();
    speak();
  } catch (error) {
    if (isAbort(error)) return;
    heat.clear();
    byId("why").replaceChildren(make("p", { class: "problem", role: "alert" }, error.message));
  }
  byId("why").removeAttribute("aria-busy");
  setBusy(false);
}

function paint() {
  const { explanation } = found;
  const parts = explanation.contributions.filter((part) => Math.abs(part.contribution) > LEAST);
  const largest = Math.abs(parts[0]?.contribution ?? 1);
  const toward = parts.filter((part) => part.contribution > 0);
  const against = parts.filter((part) => part.contribution < 0);
  const from = explanation.logit - explanation.base;
  byId("why").replaceChildren(
    make("h2", {}, `Why ${explanation.name}?`),
    make(
      "p",
      {},
      "Its score is ",
      make("strong", {}, score(explanation.logit)),
      `: ${score(explanation.base)} is what an average class gets, and its attributes make ` +
        `${signed(from)} of it. Choose one to see where it was read.`,
    ),
    make(
      "div",
      { class: "why-tools" },
      toggle("All attributes together", null),
      make(
        "button",
        { type: "button", class: "button small", onclick: savePicture },
        icon("save"),
        "Save as a picture",
      ),
    ),
    side("Spoke for it", "for", toward, largest),
    side("Spoke against it", "against", against, largest),
    ...(toward.length > FIRST || against.length > FIRST
      ? [
          make(
            "button",
            { type: "button", class: "quiet", "aria-expanded": String(all), onclick: showAll },
            all ? "Show the strongest alone" : `Show all ${parts.length}`,
          ),
        ]
      : []),
  );
  paintHeat();
}

function speak() {
  const { name, contributions } = found.explanation;
  const best = contributions.find((part) => part.contribution > 0);
  const worst = contributions.find((part) => part.contribution < 0);
  byId("spoken").textContent =
    `Why ${name}? Most for it: ${best ? attributeWords(best.name) : "nothing"}. ` +
    `Most against it: ${worst ? attributeWords(worst.name) : "nothing"}.`;
}

function paintHeat() {
  if (!found || state.tab !== "why") heat.clear();
  else heat.paint(attribute === null ? found.explanation.heat : found.maps.get(attribute));
}

function toggle(words, name) {
  const pressed = String(attribute === name);
  const to = { type: "button", class: "button small", "aria-pressed": pressed };
  return make("button", { ...to, onclick: () => look(name) }, words);
}

function side(title, kind, parts, largest) {
  const rows = (all ? parts : parts.slice(0, FIRST)).map((part) => {
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    return make(
      "li",
      {},
      make(
        "button",
        {
          type: "button",
          class: `reason ${kind}`,
          "aria-pressed": String(attribute === part.name),
          "data-attribute": part.name,
          onclick: () => look(part.name),
        },
        make("span", { class: "reason-name" }, attributeWords(part.name)),
        make("span", { class: "reason-sum" }, signed(part.contribution)),
        styled(bar, { share: Math.abs(part.contribution) / largest }),
        make(
          "span",
          { class: "reason-values" },
          `photograph ${short(part.image)} · class ${short(part.sheet)}`,
        ),
      ),
    );
  });
  const list = rows.length
    ? make("ul", { class: "reasons" }, ...rows)
    : make("p", { class: "hint" }, "Nothing.");
  return make("section", {}, make("h3", {}, title), list);
}

function look(name) {
  attribute = attribute === name ? null : name;
  repaint(name === null ? null : `[data-attribute="${CSS.escape(name)}"]`);
}

function showAll() {
  all = !all;
  repaint("[aria-expanded]");
}

// The buttons are made anew: the one that was used keeps the focus.
function repaint(selector) {
  paint();
  byId("why").querySelector(selector ?? ".why-tools button").focus();
}

// The service's own picture of the map, as large as the photograph.
async function savePicture() {
  const query = { class_id: item.class_id, box: boxQuery(state.box), attribute };
  try {
    const picture = await sendImage("explain", state.image.file, { query, accept: "image/png" });
    download(picture, "why.png");
  } catch (error) {
    notice(error.message, { kind: "problem" });
  }
}
