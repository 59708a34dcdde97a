// The service: its answers, its problems in words, and waiting while it is away or busy.

import { emit, on } from "./state.js";

const BUSY_TRIES = 4;

// Whose classes: the page's own address says it.
export const collection = new URLSearchParams(location.search).get("collection");

// What to do about a problem, where its own detail doesn't say.
const ADVICE = {
  image_unreadable: "Choose another file.",
  image_truncated: "The file is not complete: copy or download it again.",
  image_too_large: "Make the picture smaller and choose it again.",
  body_too_large: "Make the picture smaller and choose it again.",
  box_outside: "Draw the box again, or take the whole photograph.",
  name_taken: "Choose another name.",
  name_invalid: "Type a name of 1 to 200 characters.",
  no_candidates: "Make a class, or choose “all classes”.",
  overloaded: "Wait a moment and try again.",
  deadline: "Wait a moment and try again.",
  internal: "Try again; if it stays, ask whoever runs the service.",
};

const UNREACHABLE =
  "The service does not answer, and nobody knows whether this was done. Look once it is back.";

export const UNREADABLE = "The file can't be read any more. Open it again.";

function problem(status, body) {
  const detail = body.detail || body.title || `the service answered ${status}`;
  return new Error(sentence(detail) + (ADVICE[body.code] ? ` ${ADVICE[body.code]}` : ""));
}

function sentence(words) {
  const text = words.trim();
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

// Someone gave up: not an error to show.
export function isAbort(error) {
  return error.name === "AbortError";
}

// Ask the service; resolves to its JSON, or to a Blob if `accept` is no JSON.
//
// `patient`: while the service is away, wait until it is back and ask again. For what may be done
// twice: whether a lost write was done, nobody knows.
export async function call(path, options = {}) {
  const { query = {}, patient = false, accept = "application/json", ...request } = options;
  const asked = Object.entries({ collection, ...query }).filter(([, value]) => value !== null && value !== undefined);
  const url = asked.length ? `${path}?${new URLSearchParams(asked)}` : path;
  request.headers = { Accept: accept, ...request.headers };
  for (let busy = 0; ; ) {
    const response = await fetch(url, request).catch((error) => {
      if (isAbort(error)) throw error;
      return null;
    });
    if (response === null) {
      await assertReadable(request.body);
      emit("outage");
      if (!patient) throw new Error(UNREACHABLE);
      await recovery(request.signal);
    } else if (response.ok) {
      return accept === "application/json" ? response.json() : response.blob();
    } else {
      const body = (await response.json().catch(() => null)) ?? {}; // a proxy's page, say
      const wait = waitOf(response, body);
      if (!patient || !wait || ++busy === BUSY_TRIES) {
        if (body.code === "revision_unavailable") lastWrite = null; // a database came back with less
        throw problem(response.status, body);
      }
      await pause(wait * 1000, request.signal);
    }
  }
}

// A file that was deleted or changed since it was chosen fails like a service that is away.
async function assertReadable(body) {
  for (const part of body instanceof FormData ? body.values() : [body]) {
    if (!(part instanceof Blob)) continue;
    // The whole of it: of a file that is gone, Chromium's slices are empty and no error.
    await part.arrayBuffer().catch(() => {
      throw new Error(UNREADABLE);
    });
  }
}

// Seconds until the service wants to be asked again, 0 if asking again won't help.
function waitOf(response, { code }) {
  if (code === "idempotency_in_progress") return 1; // it is still at what we thought was lost
  return response.status === 503 ? Number(response.headers.get("Retry-After")) : 0;
}

// The revision of this page's last write, of which whichever replica is asked has to know.
export let lastWrite = null;

async function written(asked) {
  const answer = await asked;
  lastWrite = Math.max(lastWrite, answer.revision);
  return answer;
}

// A new class. The key is this request's own: sent again it makes no second class.
export function register(content) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": newKey() };
  const body = JSON.stringify(content);
  return written(call("classes", { method: "POST", headers, body, patient: true }));
}

export function remove(classId) {
  return written(call(pathOf(classId), { method: "DELETE" }));
}

export function pathOf(classId) {
  return `classes/${encodeURIComponent(classId)}`;
}

// 128 random bits; crypto.randomUUID is for pages of https or of this machine alone.
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// As bytes: what the file's name says it is would only mislead.
export function sendImage(path, file, options = {}) {
  const headers = { "Content-Type": "application/octet-stream" };
  return call(path, { method: "POST", headers, body: file, patient: true, ...options });
}

export function boxQuery(box) {
  return box ? [box.x, box.y, box.w, box.h].join(",") : null;
}

export function pause(milliseconds, signal) {
  return until(signal, (done) => setTimeout(done, milliseconds));
}

const waiting = new Set();
on("recovered", () => {
  for (const done of waiting) done();
  waiting.clear();
});

function recovery(signal) {
  return until(signal, (done) => waiting.add(done));
}

function until(signal, start) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort, { once: true });
    start(resolve);
  });
}
