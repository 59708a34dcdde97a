// The class that is being made: a name and a number for every attribute, with a history; and whether
// the open photograph is an example of it.

import { example } from "./photographs.js";
import { emit, state } from "./state.js";

const MOST = 100; // steps back

export const draft = {
  name: "",
  values: [], // in the order of state.attributes
  photographed: false, // the open photograph is an example of it

  // Its sheet says more than the average class's does.
  get touched() {
    return this.values.some((_, index) => this.isChanged(index));
  },

  get title() {
    return this.name.trim() || "New class";
  },

  // What POST /classes takes: exactly what the sliders show.
  async content() {
    const content = { name: this.title, attributes: [...this.values] };
    return this.photographed ? { ...content, examples: [await example()] } : content;
  },

  isChanged(index) {
    return Math.abs(this.values[index] - state.attributes[index].mean) > 1e-9;
  },
};

let past = [];
let future = [];
let lastIndex = null; // whose slider moved last: its moves are one step

export function canUndo() {
  return past.length > 0;
}

export function canRedo() {
  return future.length > 0;
}

export function rename(name) {
  draft.name = name;
  emit("draft");
}

export function setPhotographed(photographed) {
  draft.photographed = photographed;
  emit("draft");
}

export function setValue(index, value) {
  const { min, max } = state.attributes[index];
  if (lastIndex !== index) remember();
  lastIndex = index;
  draft.values[index] = Math.min(Math.max(value, min), max);
  emit("draft");
}

// A whole sheet at once; values outside the scale are taken to its ends.
export function setAll(values, name = null) {
  remember(name !== null);
  lastIndex = null;
  draft.values = state.attributes.map(({ min, max }, i) => Math.min(Math.max(values[i], min), max));
  if (name !== null) draft.name = name;
  emit("draft");
}

// The average class again, with nothing to go back to.
export function restart() {
  past = [];
  future = [];
  lastIndex = null;
  draft.name = "";
  draft.photographed = false;
  draft.values = state.attributes.map(({ mean }) => mean);
  emit("draft");
}

export function undo() {
  step(past, future);
}

export function redo() {
  step(future, past);
}

// For an undo of what was saved.
export function taken() {
  return { name: draft.name, values: [...draft.values] };
}

// The name is a part of a step only where that brought one: what was typed since stays.
function remember(isNamed = false) {
  past.push({ ...taken(), isNamed });
  if (past.length > MOST) past.shift();
  future = [];
}

function step(from, to) {
  if (!from.length) return;
  const { values, name, isNamed } = from.pop();
  to.push({ ...taken(), isNamed });
  draft.values = values;
  if (isNamed) draft.name = name;
  lastIndex = null;
  emit("draft");
}
