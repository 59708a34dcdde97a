// Where a sheet can start from: the open photograph, the average, another class, a CSV line.

import { boxQuery, call, pathOf, sendImage } from "./api.js";
import { byId, make, tell } from "./dom.js";
import { sheetOf } from "./csv.js";
import { draft, setAll } from "./draft.js";
import { on, state } from "./state.js";

export function startStarts() {
  on("image", ({ width }) => {
    byId("start-photo").disabled = !width;
  });
  on("classes", () => {
    const names = state.classes.map(({ name }) => make("option", { value: name }));
    byId("class-names").replaceChildren(...names);
  });
  byId("start-photo").addEventListener("click", trying(fromPhotograph));
  byId("start-mean").addEventListener("click", trying(fromMean));
  byId("start-class-go").addEventListener("click", trying(fromClass));
  byId("start-csv-go").addEventListener("click", trying(fromLine));
  // Enter in the field takes the class, and doesn't save the form.
  byId("start-class").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    byId("start-class-go").click();
  });
}

function trying(start) {
  return async () => {
    tell(byId("make-problem"), null);
    try {
      await start();
    } catch (error) {
      tell(byId("make-problem"), error.message);
    }
  };
}

async function fromPhotograph() {
  const query = { box: boxQuery(state.box) };
  const { attributes } = await sendImage("describe", state.image.file, { query });
  setAll(state.attributes.map(({ name }) => attributes[name]));
}

function fromMean() {
  setAll(state.attributes.map(({ mean }) => mean));
}

async function fromClass() {
  const asked = byId("start-class").value.trim();
  const item = state.classes.find(({ name, class_id: id }) => name === asked || id === asked);
  if (!item) throw new Error(`No class is called “${asked}”. Choose one of the list.`);
  await takeSheet(item.class_id);
}

export async function takeSheet(classId) {
  const { attributes } = await call(pathOf(classId), { patient: true });
  setAll(attributes);
}

function fromLine() {
  const { name, values } = sheetOf(byId("start-csv").value, state.attributes);
  setAll(values, name && !draft.name.trim() ? name : null);
}
