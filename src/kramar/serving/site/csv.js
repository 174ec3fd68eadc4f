// The answers as CSV: the columns of `kramar classify`, with an error's row where there is no answer.

const COLUMNS = ["image", "label", "probability", "category", "decision", "set", "unknown_score", "error"];

// A spreadsheet runs a cell that begins like a formula, and a photo's name may be anybody's.
const FORMULA = /^[=+\-@\t\r]/;

export function csv(photos) {
  const rows = photos.map((photo) => fields(photo).map(cell).join(","));
  // Excel takes a file without a byte-order mark for one in an old encoding.
  return `\ufeff${[COLUMNS.join(","), ...rows].join("\r\n")}\r\n`;
}

function fields({ name, row, problem }) {
  if (problem) return [name, "", null, "", "", "", null, problem.message || problem.words];
  // As Python writes it.
  const set = row.set.length ? `[${row.set.map((label) => JSON.stringify(label)).join(", ")}]` : "";
  return [name, row.label, row.probability, row.category, row.decision, set, row.unknown_score, ""];
}

function cell(value) {
  if (value == null) return "";
  if (typeof value === "number") return String(value);
  const safe = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
