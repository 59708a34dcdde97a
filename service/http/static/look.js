// Asks the service what the open photograph shows, and how a draft would change that.

import { boxQuery, call, isAbort, lastWrite, sendImage } from "./api.js";
import { byId, later } from "./dom.js";
import { draft } from "./draft.js";
import { emit, on, state } from "./state.js";
import { sayProblem, setBusy } from "./stage.js";

const MOST = 1000; // classes of a ranking: enough to find a draft's place in most services
const PREVIEW_AFTER_MS = 150;

let ranking = new AbortController();
let previewing = new AbortController();

export function startLook() {
  on("image box scope", () => classify());
  on("classes", () => state.image && classify());
  on("draft ranking tab", later(PREVIEW_AFTER_MS, preview));
}

function question() {
  const box = boxQuery(state.box);
  return { top_k: MOST, scope: byId("scope").value, box, min_revision: lastWrite };
}

async function classify() {
  ranking.abort();
  previewing.abort(); // it was of another photograph, box or list of classes
  ranking = new AbortController();
  const { signal } = ranking;
  state.ranking = null;
  setBusy(true);
  try {
    const found = await sendImage("classify", state.image.file, { query: question(), signal });
    state.ranking = found;
    sayProblem(null);
  } catch (error) {
    if (isAbort(error)) return;
    sayProblem(error.message);
  }
  setBusy(false);
  emit("ranking", state.ranking);
  if (state.ranking) emit("revision", state.ranking.revision);
}

// With the draft, while it is being made; else without.
async function preview() {
  previewing.abort();
  previewing = new AbortController();
  const { signal } = previewing;
  if (!state.ranking || state.tab !== "make" || !draft.touched) return emit("preview", null);
  try {
    const form = new FormData();
    form.append("image", state.image.file);
    const content = JSON.stringify(await draft.content());
    form.append("class", new Blob([content], { type: "application/json" }));
    // As the class will be asked for once it is there: a draft is never among the seen ones.
    const asked = { method: "POST", body: form, query: question(), patient: true, signal };
    emit("preview", await call("preview", asked));
  } catch (error) {
    if (!isAbort(error)) emit("preview", { problem: error.message });
  }
}
