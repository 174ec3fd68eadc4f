// The answers as a list: filtered, in the order that is wished for, a row a photo.

import { bar, find, make } from "./elements.js";
import { onChange as onLanguage, number, say, share } from "./language.js";
import { isDone, kind, onChange, photos } from "./photos.js";
import { thumbnail } from "./thumbnails.js";
import { titled, why } from "./verdict.js";

const KINDS = ["all", "auto", "coarse", "review", "unknown", "answered", "error", "waiting"];
// Rows are put in order and counted a few times a second, however fast answers come.
const EVERY = 200;

const rows = new Map();
let shown = "all";
let due = 0;
let open = () => {};
let again = () => {};

// `opens` is called with the photo whose details are asked for, `tries` with one that is to be sent again.
export function start(opens, tries) {
  [open, again] = [opens, tries];
  find("filters").append(...KINDS.map(filter));
  find("order").addEventListener("change", arrange);
  find("rows").addEventListener("keydown", move);
  onChange((photo) => {
    if (photo && rows.has(photo)) fill(photo);
    due ||= setTimeout(arrange, EVERY);
  });
  onLanguage(() => {
    for (const photo of rows.keys()) fill(photo);
    arrange();
  });
}

// The photos that are shown, in their order.
export function visible() {
  const found = photos.filter((photo) => shown === "all" || kind(photo) === shown);
  const order = find("order").value;
  if (order === "given") return found;
  const sign = order === "most" ? -1 : 1;
  const sure = (photo) => photo.row?.probability ?? Infinity * sign;
  return found.sort((a, b) => sign * (sure(a) - sure(b)) || 0);
}

export function focus(photo) {
  rows.get(photo)?.querySelector("button")?.focus();
}

function filter(name) {
  const input = make("input", { type: "radio", name: "kind", value: name, checked: name === shown, change: () => {
    shown = name;
    arrange();
  } });
  return make("label", { class: "chip", "data-kind": name }, input, make("span", { class: "chip-name" }), make("span", { class: "count" }));
}

function arrange() {
  clearTimeout(due);
  due = 0;
  const counts = Object.fromEntries(KINDS.map((name) => [name, 0]));
  for (const photo of photos) counts[kind(photo)] += 1;
  counts.all = photos.length;
  for (const chip of find("filters").querySelectorAll(".chip")) {
    const name = chip.dataset.kind;
    chip.hidden = !counts[name] && name !== shown;
    chip.querySelector(".chip-name").textContent = say(name);
    chip.querySelector(".count").textContent = number(counts[name]);
  }
  const list = find("rows");
  const wanted = visible();
  const focused = document.activeElement;
  let place = list.firstElementChild;
  for (const photo of wanted) {
    const row = rowOf(photo);
    if (row === place) place = place.nextElementSibling;
    else list.insertBefore(row, place);
  }
  while (place) {
    const next = place.nextElementSibling;
    place.remove();
    place = next;
  }
  // What is moved loses it.
  if (list.contains(focused)) focused.focus({ preventScroll: true });
  for (const photo of photos.length ? [] : [...rows.keys()]) rows.delete(photo);
  find("nothing").hidden = wanted.length > 0 || !photos.length;
  find("csv").disabled = !photos.some(isDone);
}

function rowOf(photo) {
  if (!rows.has(photo)) {
    const row = make("li", { class: "row" }, thumbnail(photo), make("div", { class: "said" }));
    rows.set(photo, row);
    fill(photo);
  }
  return rows.get(photo);
}

function fill(photo) {
  const row = rows.get(photo);
  const hadFocus = row.contains(document.activeElement);
  row.lastElementChild.replaceWith(said(photo));
  row.dataset.kind = kind(photo);
  if (hadFocus) focus(photo);
}

function said(photo) {
  const { title, path, guess } = titled(photo);
  const word = kind(photo);
  const { row, problem } = photo;
  const name = make("p", { class: "name" }, photo.name);
  if (!row || problem) {
    return make("div", { class: "said" },
      make("div", { class: "what" },
        make("h3", {}, title),
        problem?.message && make("p", { class: "why", lang: "en" }, problem.message),
        name,
      ),
      make("div", { class: "sure" }, problem?.isPassing && make("button", { type: "button", click: () => again(photo) }, say("tryAgain"))),
      make("span", { class: `badge ${word}` }, say(word)),
    );
  }
  const label = say("open", { name: photo.name, what: title });
  return make("div", { class: "said" },
    make("div", { class: "what" },
      path && make("p", { class: "path" }, path),
      make("h3", {}, make("button", { type: "button", class: "open", "aria-label": label, click: () => open(photo) }, title)),
      guess && make("p", { class: "guess" }, guess),
      make("p", { class: "why" }, why(photo)),
      name,
    ),
    make("div", { class: "sure" }, make("span", { class: "num" }, share(row.probability)), bar(row.probability, word)),
    make("span", { class: `badge ${word}` }, say(word)),
  );
}

// Arrows go from row to row, since Tab stops at each.
function move(event) {
  const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
  if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
  const buttons = [...find("rows").querySelectorAll(".what button, .sure button")];
  const at = buttons.indexOf(document.activeElement);
  const to = Math.min(Math.max(at + step, 0), buttons.length - 1);
  if (at < 0) return;
  event.preventDefault();
  buttons[to].focus();
}
