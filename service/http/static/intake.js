// How photographs come in: chosen, dropped, pasted.

import { byId } from "./dom.js";
import { notice } from "./notices.js";

// `receive` gets the files, one or several.
export function startIntake(receive) {
  const input = byId("file");
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // the same file may be chosen again
    if (files.length) receive(files);
  });

  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    // Spreadsheets copy a picture beside the text that a field wants.
    const field = event.target.closest?.("input, textarea");
    const wantsText = field && event.clipboardData.getData("text");
    if (!files.length || wantsText) return;
    event.preventDefault();
    receive(files);
  });

  let inside = 0; // elements that the drag has entered and not left
  const over = (is) => byId("stage").classList.toggle("over", is);
  document.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    inside += 1;
    over(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    inside -= 1;
    if (inside <= 0) over(false);
  });
  document.addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    inside = 0;
    over(false);
    if (!carriesFiles(event)) return;
    event.preventDefault();
    const files = [...event.dataTransfer.files];
    if (files.length) receive(files);
    else notice("That was no file. Drop a picture file from your computer.", { kind: "problem" });
  });
}

function carriesFiles(event) {
  return event.dataTransfer?.types.includes("Files") ?? false;
}
