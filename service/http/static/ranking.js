// The ranked classes as bars, with the draft among them while one is made.

import { byId, make, show, styled, tell } from "./dom.js";
import { draft } from "./draft.js";
import { emit, on, state } from "./state.js";
import { milliseconds, percent, score, seenWords } from "./words.js";

const FIRST = 5;
const MORE = 20;

let length = FIRST;
let shown = null; // the answer that the bars show
let isPreview = false;
let chosen = null; // the id of the class that is explained

export function startRanking() {
  on("image", () => {
    length = FIRST;
    chosen = null;
  });
  on("ranking", (answer) => {
    shown = answer;
    isPreview = false;
    paint();
    if (answer) speak(answer);
  });
  on("preview", (answer) => {
    const drafted = answer && !answer.problem ? answer : null;
    // Without a draft, or while the next ranking is on its way, the last one stays.
    if (!drafted && !isPreview) return;
    shown = drafted ?? state.ranking ?? shown;
    isPreview = shown === drafted;
    paint();
  });
  on("tab", paint);
  on("chosen", (item) => {
    chosen = item?.class_id ?? null;
    paint();
  });
  byId("ranks-more").addEventListener("click", () => {
    length += MORE;
    paint();
    byId("ranks").children[length - MORE]?.querySelector("button")?.focus();
  });
  byId("scope").addEventListener("change", () => state.image && emit("scope"));
}

function paint() {
  show(byId("ranking"), shown !== null);
  if (!shown) return;
  const { predictions } = shown;
  byId("ranking-title").textContent = isPreview
    ? `With “${draft.title}”`
    : "What it looks like";
  const before = new Map(state.ranking?.predictions.map((item) => [item.class_id, item]) ?? []);
  const rows = predictions
    .slice(0, length)
    .map((item) => row(item, isPreview ? before.get(item.class_id) : null));
  const place = predictions.findIndex((item) => item.draft);
  if (place >= length) rows.push(row(predictions[place], null, place + 1));
  const focused = document.activeElement?.dataset.classId;
  byId("ranks").replaceChildren(...rows);
  // The buttons are made anew: the one that had the focus keeps it.
  if (focused) byId("ranks").querySelector(`[data-class-id="${CSS.escape(focused)}"]`)?.focus();
  show(byId("ranks-more"), predictions.length > length);
  unknown(isPreview ? null : shown);
  const { total, decode, inference } = shown.timings_ms;
  byId("timing").textContent =
    `${milliseconds(total)}: ${milliseconds(decode)} to read the file, ` +
    `${milliseconds(inference)} in the network`;
}

function row(item, before, place = null) {
  const kind = seenWords(item);
  const bar = styled(make("span", { class: "bar", "aria-hidden": "true" }), {
    share: item.probability,
  });
  if (before) {
    bar.append(styled(make("span", { class: "bar-before" }), { share: before.probability }));
  }
  const inner = [
    make("span", { class: "rank-name" }, place ? `${place}. ${item.name}` : item.name),
    make("span", { class: `tag ${kind}` }, kind),
    make("span", { class: "rank-share" }, percent(item.probability)),
    bar,
  ];
  const title = `score ${score(item.score)}`;
  // There is nothing to explain of a class that isn't there yet.
  const inside = item.draft
    ? make("div", { class: "rank draft", title }, ...inner)
    : make(
        "button",
        {
          type: "button",
          class: "rank",
          title: `${title}; click to see why`,
          "data-class-id": item.class_id,
          "aria-pressed": String(item.class_id === chosen && state.tab === "why"),
          onclick: () => emit("chosen", item),
        },
        ...inner,
      );
  return make("li", {}, inside);
}

// `known` is false where even the best class is too far away, null where nobody can say.
function unknown(answer) {
  const best = answer?.predictions[0];
  const isUnknown = answer?.known === false && best;
  tell(
    byId("unknown"),
    isUnknown
      ? `Like none of the classes: even the nearest, ${best.name}, is too far away. ` +
          "If you know what it is, make a class of it."
      : null,
  );
}

function speak({ predictions: [best], known }) {
  const words = `${best.name}, ${percent(best.probability)}, ${seenWords(best)}.`;
  byId("spoken").textContent =
    known === false ? `Like none of the classes. The nearest: ${words}` : `It looks like ${words}`;
}
