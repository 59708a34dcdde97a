// The line that says what runs here, and the watch over a service that went away.

import { byId, tell } from "./dom.js";
import { emit, on, state } from "./state.js";
import { counted, milliseconds } from "./words.js";

const EVERY_MS = 5000;
const EVERY_MS_AWAY = 1000;
const REFUSED_MS = 600_000; // a proxy that keeps the figures from us will go on to

let away = false;
let timer = 0;
let refusedUntil = 0;

export function startStatus() {
  on("outage", wentAway);
  on("ranking classes", soon);
  document.addEventListener("visibilitychange", look);
  look();
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(look, 300);
}

async function look() {
  clearTimeout(timer);
  if (document.hidden && !away) return;
  const ready = Date.now() < refusedUntil ? await askReady() : await askMetrics();
  if (ready === null) wentAway();
  else if (ready) isReady();
  clearTimeout(timer);
  timer = setTimeout(look, away ? EVERY_MS_AWAY : EVERY_MS);
}

// Whether it is ready; null if nobody answers.
async function askMetrics() {
  const response = await fetch("metrics").catch(() => null);
  if (response === null || response.status >= 500) return null;
  if (response.ok) return show(readings(await response.text()));
  refusedUntil = Date.now() + REFUSED_MS;
  return askReady();
}

// The same without the figures.
async function askReady() {
  const response = await fetch("readyz").catch(() => null);
  // A 503 is the service's own word; another error is a proxy's that reaches no service.
  if (response === null || (response.status >= 500 && response.status !== 503)) return null;
  say(response.ok ? "ready" : "starting", response.ok ? "ready" : "not ready");
  return response.ok;
}

function wentAway() {
  if (!away) {
    away = true;
    tell(byId("outage"), "The service does not answer; trying again.");
    say("away", "does not answer");
    clearTimeout(timer);
    timer = setTimeout(look, EVERY_MS_AWAY);
  }
}

function isReady() {
  if (away) {
    away = false;
    tell(byId("outage"), null);
    emit("recovered");
  }
  emit("ready");
}

// Whether it is ready.
function show(found) {
  const info = found.of("umzero_build_info")[0]?.labels ?? {};
  const ready = found.sum("umzero_ready") === 1;
  // Not of the figures, which count every collection.
  const registered = state.classes.filter(({ seen }) => !seen).length;
  const median = medianOf(found.of("umzero_request_duration_seconds_bucket"));
  const parts = [
    ready ? "ready" : "not ready",
    info.bundle,
    [info.backend, info.precision].filter(Boolean).join(" "),
    median === null ? "no photograph yet" : `median ≈ ${milliseconds(median * 1000)}`,
    state.classes.length ? counted(state.classes.length, "class", "classes") : "",
    registered ? `${registered} of them new` : "",
  ];
  say(ready ? "ready" : "starting", parts.filter(Boolean).join(" · "));
  emit("revision", found.sum("umzero_registry_revision"));
  return ready;
}

function say(light, words) {
  byId("status").dataset.light = light;
  const place = byId("status-words");
  if (place.textContent !== words) place.textContent = words;
}

// Prometheus's text format.
function readings(text) {
  const lines = [];
  for (const [, name, labels = "", value] of text.matchAll(/^([a-z_]+)(?:\{(.*)\})? (\S+)$/gm)) {
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, k, v]) => [k, v]);
    lines.push({ name, labels: Object.fromEntries(pairs), value: Number(value) });
  }
  const of = (name, labels = {}) =>
    lines.filter(
      (line) =>
        line.name === name && Object.entries(labels).every(([k, v]) => line.labels[k] === v),
    );
  const sum = (name, labels) => of(name, labels).reduce((total, line) => total + line.value, 0);
  return { of, sum };
}

// Seconds, of all that /classify answered since the service started: the place of the middle one
// within its bucket is taken to be in proportion, as Prometheus does.
function medianOf(buckets) {
  const counts = new Map();
  for (const { labels, value } of buckets) {
    if (labels.route !== "/classify" || labels.status !== "200") continue;
    const edge = labels.le === "+Inf" ? Infinity : Number(labels.le);
    counts.set(edge, (counts.get(edge) ?? 0) + value);
  }
  const edges = [...counts.keys()].sort((a, b) => a - b);
  const total = counts.get(Infinity) ?? 0;
  if (!total) return null;
  let low = 0;
  let below = 0;
  for (const edge of edges) {
    const upTo = counts.get(edge);
    if (upTo >= total / 2) {
      if (edge === Infinity) return low;
      return low + ((edge - low) * (total / 2 - below)) / (upTo - below);
    }
    low = edge;
    below = upTo;
  }
  return low;
}
