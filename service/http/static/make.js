// Making a class: its outlook while it is a draft, saving it, and taking that back.

import { register, remove } from "./api.js";
import { byId, tell } from "./dom.js";
import {
  canRedo, canUndo, draft, redo, rename, restart, setAll, setPhotographed, taken, undo,
} from "./draft.js";
import { notice } from "./notices.js";
import { loadClasses } from "./classes.js";
import { on, state } from "./state.js";
import { choose } from "./tabs.js";
import { counted, ordinal, percent } from "./words.js";

export function startMake() {
  on("attributes", restart);
  on("draft", update);
  on("preview", outlook);
  on("image draft tab", () => outlook(null));
  on("image", () => setPhotographed(false)); // that was about the one before
  on("box", update);
  const name = byId("make-name");
  name.addEventListener("input", () => rename(name.value));
  const photograph = byId("make-photograph");
  photograph.addEventListener("change", () => setPhotographed(photograph.checked));
  byId("sheet-undo").addEventListener("click", undo);
  byId("sheet-redo").addEventListener("click", redo);
  byId("make").addEventListener("submit", (event) => {
    event.preventDefault();
    save();
  });
}

function update() {
  const name = byId("make-name");
  if (name.value !== draft.name) name.value = draft.name;
  byId("sheet-undo").disabled = !canUndo();
  byId("sheet-redo").disabled = !canRedo();
  byId("make-photograph").checked = draft.photographed;
  byId("make-photograph").disabled = !state.image;
  byId("make-photograph-words").textContent = state.box
    ? "Use what is in the box as an example too"
    : "Use the open photograph as an example too";
  const changed = draft.values.filter((_, index) => draft.isChanged(index)).length;
  const differ = changed === 1 ? "differs" : "differ";
  byId("make-summary").textContent = changed
    ? `${counted(changed, "attribute")} ${differ} from the average class`
    : "";
}

// One sentence of how the open photograph would be ranked.
function outlook(answer) {
  const place = byId("outlook");
  delete place.dataset.problem;
  if (answer?.problem) {
    place.dataset.problem = "";
    place.textContent = answer.problem;
  } else if (answer) {
    const at = answer.predictions.findIndex((item) => item.draft);
    const of = counted(answer.predictions.length, "class", "classes");
    place.textContent =
      at < 0
        ? "The photograph is not compared with it: choose “all classes” or “unseen classes”."
        : `${draft.title} would be ${ordinal(at + 1)} of ${of}, ` +
          `with ${percent(answer.predictions[at].probability)}.`;
  } else if (!state.image) {
    place.textContent = "Open a photograph to see how it would be ranked with this class.";
  } else if (!draft.touched) {
    place.textContent = "Move a slider to see how the photograph would be ranked.";
  }
}

async function save() {
  tell(byId("make-problem"), null);
  const missing = !draft.name.trim()
    ? "Give the class a name first."
    : !draft.touched
      ? "The sheet is the average class's: say what is special about this one first."
      : null;
  if (missing) {
    tell(byId("make-problem"), missing);
    if (!draft.name.trim()) byId("make-name").focus();
    return;
  }
  const before = { ...taken(), image: draft.photographed ? state.image : null };
  const form = byId("make");
  form.inert = true; // it may wait long for the service, and what is changed meanwhile would be lost
  try {
    const { classes, warnings = [] } = await register({
      ...(await draft.content()),
      name: draft.name.trim(),
    });
    restart();
    await loadClasses();
    const [{ class_id: id, name }] = classes;
    const also = warnings.map(({ detail }) => ` But ${detail}.`).join("");
    notice(`“${name}” is a class now, for everybody who asks this service.${also}`, {
      undo: () => unsave(id, before),
    });
  } catch (error) {
    tell(byId("make-problem"), error.message);
  }
  form.inert = false;
}

async function unsave(id, before) {
  await remove(id);
  choose("make");
  setAll(before.values, before.name);
  setPhotographed(before.image !== null && before.image === state.image);
  await loadClasses();
}
