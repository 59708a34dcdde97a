// Numbers and names as people read them.

// "has_wing_color" -> "Wing color"
export function groupWords(group) {
  const words = group.replace(/^has_/, "").replaceAll("_", " ").trim() || group;
  return words[0].toUpperCase() + words.slice(1);
}

// "has_bill_shape::hooked_seabird" -> "hooked seabird"; an attribute without a value is its name
export function valueWords(name, group) {
  const value = name.startsWith(`${group}::`) ? name.slice(group.length + 2) : name;
  return value.replaceAll("_", " ").trim() || name;
}

export function attributeWords(name) {
  const [group, value] = name.split("::");
  return value === undefined
    ? groupWords(group)
    : `${groupWords(group)}: ${value.replaceAll("_", " ")}`;
}

export function percent(share) {
  const value = share * 100;
  if (value > 99.9 && value < 100) return "> 99.9 %";
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(1)} %`;
}

export function milliseconds(value) {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

export function score(value) {
  return value.toFixed(2).replace("-", "−");
}

export function signed(value) {
  return value < 0 ? score(value) : `+${score(value)}`;
}

export function short(value) {
  return Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(value) < 10 ? 2 : 1);
}

export function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

export function ordinal(place) {
  const tens = place % 100;
  const ending = tens > 10 && tens < 14 ? "th" : (["th", "st", "nd", "rd"][place % 10] ?? "th");
  return `${place}${ending}`;
}

// What was typed into a search field: `finds(text)` tells whether a text has all its words.
export function searchOf(typed) {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const finds = (text) => words.every((word) => text.toLowerCase().includes(word));
  return { isEmpty: words.length === 0, finds };
}

export function seenWords(item) {
  if (item.draft) return "draft";
  return item.seen ? "seen" : "unseen";
}
