// Many photographs at once: progress, a table, and the table as CSV.

import { isAbort, lastWrite, sendImage } from "./api.js";
import { written } from "./csv.js";
import { byId, download, make, show } from "./dom.js";
import { choose } from "./tabs.js";
import { counted, percent, seenWords } from "./words.js";

const AT_ONCE = 3;
const BEST = 2;
const COLUMNS = [
  "file", "class_id", "name", "probability", "score", "seen", "known",
  "next_class_id", "next_name", "next_probability", "problem",
];

let running = new AbortController();
let items = []; // { file, url, row, answer, problem }

export function startMany(open) {
  byId("many-stop").addEventListener("click", () => running.abort());
  byId("many-save").addEventListener("click", save);
  byId("many-rows").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) open(items[Number(button.dataset.index)].file);
  });
}

export async function run(files) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  for (const { url } of items) URL.revokeObjectURL(url);
  items = files.map((file, index) => begun(file, index));
  const current = items;
  byId("many-rows").replaceChildren(...items.map(({ row }) => row));
  show(byId("many-empty"), false);
  show(byId("many"), true);
  byId("many-stop").disabled = false;
  choose("many");
  progress();
  const left = [...items];
  const work = async () => {
    for (let item = left.shift(); item && !signal.aborted; item = left.shift()) {
      await classify(item, signal);
      if (items === current) progress();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (items === current) {
    byId("many-stop").disabled = true;
    progress();
  }
}

function begun(file, index) {
  const url = URL.createObjectURL(file);
  const thumbnail = make("img", { src: url, alt: "", loading: "lazy", decoding: "async" });
  const name = make("button", { type: "button", class: "link", "data-index": index }, file.name);
  const shown = make("span", { class: "thumbnail" }, thumbnail);
  const cell = make("th", { scope: "row" }, make("div", { class: "file-cell" }, shown, name));
  const state = make("td", { colspan: 3, class: "hint" }, "waits");
  return { file, url, row: make("tr", {}, cell, state) };
}

async function classify(item, signal) {
  try {
    const query = { top_k: BEST, min_revision: lastWrite };
    item.answer = await sendImage("classify", item.file, { query, signal });
  } catch (error) {
    if (isAbort(error)) return;
    item.problem = error.message;
  }
  item.row.replaceChildren(item.row.firstElementChild, ...cells(item));
}

function cells({ answer, problem }) {
  if (problem) return [make("td", { colspan: 3, class: "row-problem" }, problem)];
  const [best, next] = answer.predictions;
  const kind = answer.known === false ? "like none" : seenWords(best);
  return [
    make("td", {}, `${best.name} `, make("span", { class: `tag ${seenWords(best)}` }, kind)),
    make("td", { class: "number" }, percent(best.probability)),
    make("td", { class: "hint" }, next ? `${next.name}, ${percent(next.probability)}` : ""),
  ];
}

function progress() {
  const done = items.filter(({ answer, problem }) => answer || problem).length;
  const failed = items.filter(({ problem }) => problem).length;
  const bar = byId("many-progress");
  bar.max = items.length;
  bar.value = done;
  byId("many-words").textContent =
    `${done} of ${counted(items.length, "photograph")}` +
    (failed ? `; ${failed} could not be read` : "");
  byId("many-save").disabled = done === 0;
}

function save() {
  const rows = items.filter(({ answer, problem }) => answer || problem).map(record);
  const text = written([COLUMNS, ...rows]);
  // The mark says UTF-8 to spreadsheets.
  download(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }), "umzero.csv");
}

function record({ file, answer, problem }) {
  if (problem) return [file.name, ...COLUMNS.slice(1, -1).map(() => null), problem];
  const [best, next] = answer.predictions;
  return [
    file.name,
    best.class_id,
    best.name,
    best.probability,
    best.score,
    best.seen,
    answer.known ?? null,
    next?.class_id,
    next?.name,
    next?.probability,
    null,
  ];
}
