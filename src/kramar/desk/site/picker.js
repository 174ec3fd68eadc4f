// Another category, found by typing (the combobox of ARIA's authoring practices), or a new one.

import { runners, screen } from "./card.js";
import * as catalogue from "./catalogue.js";
import { find, make, onClosed } from "./elements.js";
import { onChange as onLanguage, path, say } from "./language.js";
import { leaf, nameOf } from "./naming.js";
import { Refused } from "./refused.js";
import * as work from "./work.js";

// Options that are listed: nobody reads more of them, and thousands take a moment each time that a letter is typed.
const MOST = 40;

let photo = null;
let options = [];
let active = 0;
let after = () => {};

// `then` is called when the choice is made, or left.
export function start(then) {
  after = then;
  const dialog = find("picker");
  const input = find("picker-input");
  input.addEventListener("input", () => list());
  input.addEventListener("keydown", move);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  onClosed(dialog, () => {
    photo = null;
    after();
  });
  find("picker-add").addEventListener("submit", add);
  find("add-back").addEventListener("click", () => show(false));
  onLanguage(() => photo && list());
}

export function open(chosen) {
  photo = chosen;
  find("picker-input").value = "";
  find("picker-photo").replaceChildren(screen(photo.item));
  find("add-problem").textContent = "";
  show(false);
  find("picker").showModal();
  find("picker-input").focus();
}

function show(isNew) {
  find("picker-choose").hidden = isNew;
  find("picker-add").hidden = !isNew;
  if (isNew) find("add-label").focus();
  else {
    list();
    find("picker-input").focus();
  }
}

// Without case and accents, as people type.
function plain(text) {
  return text.normalize("NFD").replace(/(?<=[a-z])\p{M}/giu, "").toLocaleLowerCase();
}

// Those that have every word in their name or path, in this order: what the model thought of, names that begin so, others.
function matching(typed) {
  const words = plain(typed).split(/[\s/›]+/).filter(Boolean);
  const { item } = photo;
  const model = catalogue.of(item);
  const likely = [item.label, ...runners(item).map((one) => one.label)];
  const found = [];
  for (const one of model.classes) {
    const name = plain(leaf(one.category || one.label));
    const all = `${plain(one.category)} ${plain(one.label)}`;
    if (!words.every((word) => all.includes(word))) continue;
    const begins = words.length > 0 && name.startsWith(words[0]);
    const guess = likely.indexOf(one.label);
    found.push({ ...one, rank: guess >= 0 && !words.length ? guess : begins ? 10 : 11 });
  }
  const compare = new Intl.Collator(document.documentElement.lang).compare;
  return found.sort((a, b) => a.rank - b.rank || compare(a.category || a.label, b.category || b.label));
}

function list() {
  const typed = find("picker-input").value.trim();
  const found = matching(typed);
  options = found.slice(0, MOST).map((one) => ({ ...one, isNew: false }));
  const same = (one) => [one.label, one.category, leaf(one.category)].some((name) => plain(name) === plain(typed));
  if (typed && !found.some(same)) options.push({ label: typed, isNew: true });
  active = 0;
  find("picker-options").replaceChildren(...options.map((one, place) => {
    const name = one.isNew ? say("add", { label: one.label }) : nameOf(one.label, catalogue.of(photo.item));
    const above = one.isNew ? "" : path((one.category || one.label).split("/").slice(0, -1).join("/"));
    return make("li", {
      role: "option", id: `option-${place}`, class: one.isNew ? "new" : "", "aria-selected": "false",
      // Not click: the field would lose the focus first.
      mousedown: (event) => {
        event.preventDefault();
        choose(one);
      },
    }, make("span", {}, name), above && make("small", {}, above));
  }));
  find("picker-count").textContent = say(found.length > MOST ? "foundMore" : "found", { n: found.length, most: MOST });
  mark();
}

function mark() {
  const all = find("picker-options").children;
  for (const [place, option] of [...all].entries()) option.setAttribute("aria-selected", String(place === active));
  if (all[active]) {
    find("picker-input").setAttribute("aria-activedescendant", all[active].id);
    all[active].scrollIntoView({ block: "nearest" });
  } else find("picker-input").removeAttribute("aria-activedescendant");
}

function move(event) {
  if (event.isComposing) return;
  const last = options.length - 1;
  if (event.key === "Enter") {
    if (options[active]) choose(options[active]);
  } else if (event.key === "ArrowDown") active = active >= last ? 0 : active + 1;
  else if (event.key === "ArrowUp") active = active <= 0 ? Math.max(last, 0) : active - 1;
  else if (event.key === "PageDown") active = Math.min(active + 8, last);
  else if (event.key === "PageUp") active = Math.max(active - 8, 0);
  else return;
  event.preventDefault();
  if (photo) mark();
}

function choose(one) {
  if (one.isNew) {
    const { item } = photo;
    const own = catalogue.of(item).classes.find((known) => known.label === item.label)?.category ?? "";
    find("add-label").value = one.label;
    find("add-path").value = one.label.includes("/") ? one.label : [...own.split("/").slice(0, -1), one.label].join("/");
    show(true);
    return;
  }
  decide(one.label);
}

function decide(label) {
  const chosen = photo;
  find("picker").close();
  if (label === chosen.item.label) work.decide(chosen, "accept");
  else work.decide(chosen, "category", label);
}

async function add(event) {
  event.preventDefault();
  const chosen = photo;
  find("add-problem").textContent = "";
  try {
    const made = await catalogue.add(find("add-label").value.trim(), find("add-path").value.trim());
    if (photo === chosen) decide(made.label);
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    find("add-problem").textContent = refused.words;
    find("add-path").focus();
  }
}
