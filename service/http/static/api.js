// The service: its answers, its problems in words, and waiting while it is away or busy.

import { emit, on } from "./state.js";

const BUSY_TRIES = 4;

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

export class Problem extends Error {
  constructor(status, body) {
    const detail = body.detail || body.title || `the service answered ${status}`;
    super(sentence(detail) + (ADVICE[body.code] ? ` ${ADVICE[body.code]}` : ""));
    this.status = status;
    this.code = body.code ?? "";
  }
}

export class Unreachable extends Error {
  constructor() {
    super("The service does not answer. Nothing was changed; try again once it is back.");
  }
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
// `patient`: while the service is away, wait until it is back and ask again. For what changes
// nothing: whether a lost write was done, nobody knows.
export async function call(path, options = {}) {
  const { query = {}, patient = false, accept = "application/json", ...request } = options;
  const asked = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const url = asked.length ? `${path}?${new URLSearchParams(asked)}` : path;
  request.headers = { Accept: accept, ...request.headers };
  for (let busy = 0; ; ) {
    const response = await fetch(url, request).catch((error) => {
      if (isAbort(error)) throw error;
      return null;
    });
    if (response === null) {
      emit("outage");
      if (!patient) throw new Unreachable();
      await recovery(request.signal);
    } else if (response.ok) {
      return accept === "application/json" ? response.json() : response.blob();
    } else {
      const problem = await problemOf(response);
      const wait = Number(response.headers.get("Retry-After"));
      if (!patient || response.status !== 503 || !wait || ++busy === BUSY_TRIES) throw problem;
      await pause(wait * 1000, request.signal);
    }
  }
}

export function send(path, method, content, options = {}) {
  const headers = { "Content-Type": "application/json" };
  return call(path, { method, headers, body: JSON.stringify(content), ...options });
}

// As bytes: what the file's name says it is would only mislead.
export function sendImage(path, file, options = {}) {
  const headers = { "Content-Type": "application/octet-stream" };
  return call(path, { method: "POST", headers, body: file, patient: true, ...options });
}

export function boxQuery(box) {
  return box ? [box.x, box.y, box.w, box.h].join(",") : null;
}

async function problemOf(response) {
  try {
    return new Problem(response.status, await response.json());
  } catch {
    return new Problem(response.status, {}); // a proxy's page, say
  }
}

function pause(milliseconds, signal) {
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
