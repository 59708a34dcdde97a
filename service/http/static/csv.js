// CSV, in and out (RFC 4180; semicolons and tabs are read too).

import { short } from "./words.js";

const PASSED_OVER = ["class_id", "metadata"]; // of what `umzero classes export` writes
const BETWEEN_CHOICES = "|";

// Text -> rows of cells.
function parse(text) {
  const separator = separatorOf(text);
  const rows = [[]];
  let cell = "";
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (quoted) {
      if (character !== '"') cell += character;
      else if (text[at + 1] === '"') cell += text[(at += 1)];
      else quoted = false;
    } else if (character === '"' && cell.trim() === "") {
      cell = "";
      quoted = true;
    } else if (character === separator) {
      rows.at(-1).push(cell);
      cell = "";
    } else if (character === "\n") {
      rows.at(-1).push(cell);
      cell = "";
      rows.push([]);
    } else if (character !== "\r") cell += character;
  }
  rows.at(-1).push(cell);
  return rows.map((row) => row.map((c) => c.trim())).filter((row) => row.some((c) => c !== ""));
}

function separatorOf(text) {
  const line = text.trim().split("\n", 1)[0];
  const count = (character) => line.split(character).length;
  return ["\t", ";", ","].reduce((best, next) => (count(next) > count(best) ? next : best), ",");
}

// A CSV line, or a header and a line -> { name, values } in the order of `attributes`.
//
// Throws an Error in words.
export function sheetOf(text, attributes) {
  const rows = parse(text);
  if (!rows.length) throw new Error("There is no line. Paste one, with a name and numbers.");
  const index = new Map(attributes.map(({ name }, at) => [name, at]));
  const groups = new Set(attributes.map(({ group }) => group));
  const isHeader =
    rows[0].some((cell) => index.has(cell) || groups.has(cell)) ||
    (rows.length === 2 && rows[0].slice(1).every((cell) => Number.isNaN(Number(cell))));
  const comma = separatorOf(text) !== ","; // then it may stand in numbers
  if (rows.length > (isHeader ? 2 : 1)) {
    throw new Error("There are several lines. Paste the one of the class to start from.");
  }
  if (isHeader) {
    if (rows.length < 2) throw new Error("There is a header line alone. Paste a class's line too.");
    return byHeader(rows[0], rows[1], { attributes, index, groups, comma });
  }
  const [row] = rows;
  if (row.length !== attributes.length && row.length !== attributes.length + 1) {
    throw new Error(
      `The line has ${row.length} cells; a name and ${attributes.length} numbers were expected. ` +
        "Put the header line above it to give some of them alone.",
    );
  }
  const name = row.length > attributes.length ? row[0] : null;
  const cells = name === null ? row : row.slice(1);
  return { name, values: attributes.map((one, at) => number(cells[at], one, comma)) };
}

// As the service fills a sheet: what isn't named in a group that is has the scale's lower end, and
// groups that aren't named have the mean.
function byHeader(header, row, { attributes, index, groups, comma }) {
  const given = new Map();
  const nameAt = Math.max(header.indexOf("name"), 0); // else the first, whatever it is called
  let name = null;
  header.forEach((column, place) => {
    const cell = row[place] ?? "";
    const at = index.get(column);
    if (at !== undefined) {
      if (cell !== "") given.set(at, number(cell, attributes[at], comma));
    } else if (groups.has(column)) {
      for (const chosen of choices(cell, column, attributes)) {
        given.set(chosen, attributes[chosen].max);
      }
    } else if (!PASSED_OVER.includes(column)) {
      if (place !== nameAt) throw new Error(`No attribute is called “${column}”.`);
      name = cell;
    }
  });
  const named = new Set([...given.keys()].map((at) => attributes[at].group));
  const values = attributes.map(
    ({ group, min, mean }, at) => given.get(at) ?? (named.has(group) ? min : mean),
  );
  return { name, values };
}

// The places of the values that a cell of a group's column names.
function choices(cell, group, attributes) {
  const values = cell.split(BETWEEN_CHOICES).map((value) => value.trim());
  return values.filter(Boolean).map((value) => {
    const names = [value, `${group}::${value}`];
    const at = attributes.findIndex((one) => one.group === group && names.includes(one.name));
    if (at < 0) throw new Error(`“${value}” is no value of ${group}.`);
    return at;
  });
}

function number(cell, { name, min, max }, comma) {
  const value = cell === "" ? NaN : Number(comma ? cell.replace(",", ".") : cell);
  if (!Number.isFinite(value)) throw new Error(`“${cell}” for ${name} is no number.`);
  if (value < min || value > max) {
    throw new Error(`${name} is ${cell}; its scale goes from ${short(min)} to ${short(max)}.`);
  }
  return value;
}

// Rows of cells -> text. Spreadsheets take what begins like a formula for one, so text that does
// gets an apostrophe before it; numbers stay numbers.
export function written(rows) {
  return rows.map((row) => `${row.map(cellOf).join(",")}\r\n`).join("");
}

function cellOf(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  const text = /^[\s]*[=+\-@\t\r＝＋－＠]/.test(value) ? `'${value}` : value;
  return /[",\r\n;\t]/.test(text) || text !== text.trim()
    ? `"${text.replaceAll('"', '""')}"`
    : text;
}
