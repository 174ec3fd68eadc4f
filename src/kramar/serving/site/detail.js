// One photo, large: what it may be, why, and where the model saw that.

import { bar, find, make, onClosed } from "./elements.js";
import { onChange as onLanguage, say, score, share, target } from "./language.js";
import { focus, visible } from "./list.js";
import { nameOf, pathOf } from "./naming.js";
import { kind, onChange } from "./photos.js";
import { Refused } from "./refused.js";
import { classify } from "./service.js";
import { titled, why } from "./verdict.js";

let photo = null;
let address = "";
// Whether the heat map is wished for; it stays so from photo to photo.
let isHot = false;

export function start() {
  const dialog = find("detail");
  find("close").addEventListener("click", () => dialog.close());
  find("before").addEventListener("click", () => step(-1));
  find("after").addEventListener("click", () => step(1));
  dialog.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key.toLowerCase() === "h") heat(!isHot);
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  onClosed(dialog, () => {
    const last = photo;
    leave();
    focus(last);
  });
  onChange((changed) => photo && changed === photo && fill());
  onLanguage(() => photo && fill());
}

export function open(chosen) {
  enter(chosen);
  find("detail").showModal();
}

function enter(chosen) {
  leave();
  photo = chosen;
  address = URL.createObjectURL(photo.file);
  fill();
  const { row } = photo;
  hear([titled(photo).title, say(kind(photo)), share(row.probability)].join(", "));
  if (isHot) heat(true);
}

// Those who hear the page hear nothing of what is outside of an open dialog.
function hear(text) {
  find("detail-said").textContent = text;
}

function leave() {
  if (address) URL.revokeObjectURL(address);
  [photo, address] = [null, ""];
}

function answered() {
  return visible().filter((one) => one.row);
}

function step(by) {
  const all = answered();
  const next = all[all.indexOf(photo) + by];
  if (next) enter(next);
}

function fill() {
  const { row, model } = photo;
  const all = answered();
  const at = all.indexOf(photo);
  find("detail-place").textContent = say("place", { n: at + 1, all: all.length, name: photo.name });
  // Not disabled: a button that is keeps no focus, and keys would go nowhere.
  find("before").setAttribute("aria-disabled", String(at <= 0));
  find("after").setAttribute("aria-disabled", String(at < 0 || at + 1 >= all.length));
  const { title, path, guess } = titled(photo);
  const word = kind(photo);
  find("detail-body").replaceChildren(
    picture(),
    make("div", { class: "about" },
      make("p", {}, make("span", { class: `badge ${word}` }, say(word))),
      make("div", {},
        path && make("p", { class: "path" }, path),
        make("h2", { id: "detail-title" }, title),
        guess && make("p", { class: "guess" }, guess),
      ),
      make("p", { class: "why" }, why(photo)),
      runners(row, model),
      // A set is of the categories, of which an unknown photo seems to show none.
      word !== "unknown" && set(row, model),
    ),
  );
}

function runners(row, model) {
  const rest = 1 - row.top.reduce((sum, one) => sum + one.probability, 0);
  const line = (name, above, value, kind) => make("li", { class: kind },
    make("span", { class: "who" }, name, above && make("small", {}, above)), bar(value, kind), make("span", { class: "num" }, share(value)));
  const lines = row.top.map((one, place) => line(nameOf(one.label, model), pathOf(one.label, model), one.probability, place || row.decision === "unknown" ? "" : "first"));
  // Rounding of the model's shares may leave a crumb where there is nothing.
  if (model.classes.length > row.top.length && rest > 1e-5) lines.push(line(say("others"), "", rest, "rest"));
  return make("section", {}, make("h3", {}, say("runners")), make("ol", { class: "runners" }, ...lines));
}

function set(row, model) {
  if (!row.set.length) return null;
  const values = { n: row.set.length, share: target(model.decisions.set_coverage) };
  return make("section", {},
    make("h3", {}, say("setTitle")),
    make("p", {}, say(row.set.length === 1 ? "setOne" : "set", values)),
    make("ul", { class: "set" }, ...row.set.map((label) => make("li", {}, nameOf(label, model)))),
  );
}

function picture() {
  const name = nameOf(photo.row.label, photo.model);
  const hot = isHot && photo.heat;
  const image = hot
    ? make("img", { src: photo.heat, alt: say("heatAlt", { label: name }) })
    : make("img", { src: address, alt: say("photoAlt", { name: photo.name }), error: unpictured });
  const button = (key, wished) => make("button", { type: "button", "aria-pressed": String(isHot === wished), click: () => heat(wished) }, say(key));
  const tools = photo.model.heat_maps
    ? make("div", { class: "switch", role: "group", "aria-label": say("photo") }, button("photo", false), button("heat", true))
    : make("p", { class: "small" }, say("noHeat"));
  let note = hot ? say("heatNote", { label: name }) : "";
  if (isHot && !hot) note = photo.cold ? say("heatFailed", { why: photo.cold.words }) : say("heatLoading");
  return make("figure", { class: "frame" },
    make("div", { class: "screen" }, image), tools, make("figcaption", { class: "small" }, note));
}

function unpictured(event) {
  event.target.replaceWith(make("span", { class: "unpictured" }, say("noPicture")));
}

// Show the photo with its heat map over it, which the service draws where it is asked for, or without.
async function heat(wished) {
  const own = photo;
  if (!own?.model.heat_maps) return;
  isHot = wished;
  own.cold = null;
  again(own);
  if (!wished || own.heat) return;
  try {
    const { row } = await classify(own.file, { heatMap: true });
    const bytes = Uint8Array.from(atob(row.heat_map), (letter) => letter.charCodeAt(0));
    own.heat = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
  } catch (refused) {
    own.cold = refused instanceof Refused ? refused : new Refused("failed", String(refused));
  }
  again(own);
}

// Fill the dialog anew, with the focus on the same button.
function again(own) {
  if (photo !== own) return;
  const pressed = document.activeElement.closest?.(".switch");
  fill();
  if (pressed) find("detail-body").querySelector(".switch [aria-pressed=true]").focus();
  hear(find("detail-body").querySelector("figcaption").textContent);
}
