// What each key does, whatever the keyboard's language: letters of others are told by their place.

import { runners } from "./card.js";
import { find, make } from "./elements.js";
import { onChange as onLanguage, say } from "./language.js";
import * as large from "./large.js";
import * as tiles from "./tiles.js";
import * as work from "./work.js";

const LISTED = [
  [["←", "→", "↑", "↓"], "keyArrows"],
  [["Enter", "Space", "A"], "keyAccept"],
  [["1", "…", "4"], "keyRunner"],
  [["C", "/"], "keyOther"],
  [["U"], "keyUnknown"],
  [["B"], "keyBad"],
  [["V"], "keyView"],
  [["Z", "Ctrl+Z"], "keyUndo"],
  [["?"], "keyHelp"],
];
let pick = () => {};

// `picks` opens the choice of another category of a photo.
export function start(picks) {
  pick = picks;
  document.addEventListener("keydown", press);
  find("help-open").addEventListener("click", () => find("help").showModal());
  find("help-close").addEventListener("click", () => find("help").close());
  find("help").addEventListener("click", (event) => event.target === find("help") && find("help").close());
  find("help").addEventListener("close", () => tiles.focus());
  onLanguage(() => find("help-keys").replaceChildren(...LISTED.map(([keys, text]) => make("div", {},
    make("dt", {}, ...keys.map((key) => make("kbd", {}, key))), make("dd", {}, say(text))))));
}

function named(event) {
  const key = event.key.toLowerCase();
  if (/^[a-z0-9/?]$|^.{2,}$|^ $/.test(key)) return key;
  if (event.code === "Slash") return event.shiftKey ? "?" : "/";
  if (!event.shiftKey && /^Digit[1-4]$/.test(event.code)) return event.code.at(-1);
  return /^Key[A-Z]$/.test(event.code) ? event.code.at(-1).toLowerCase() : key;
}

function press(event) {
  const { target } = event;
  const key = named(event);
  if (event.altKey || event.defaultPrevented || find("picker").open || find("help").open) return;
  if (find("desk").hidden || target.matches("input:not([type=radio]), textarea, select")) return;
  if ((event.ctrlKey || event.metaKey) && (key !== "z" || event.shiftKey)) return;
  if (!act(key, target)) return;
  event.preventDefault();
}

// Whether the key did something.
function act(key, target) {
  if (key === "?") return !find("help").showModal();
  if (find("photos").hidden) return false;
  if (key === "z") {
    takeBack();
    return true;
  }
  const photo = tiles.atHand();
  const isAtTile = find("tiles").contains(target) || large.isOpen() || target === document.body;
  if (!photo || !isAtTile) return false;
  return move(key) || decide(key, photo, target);
}

function move(key) {
  const go = large.isOpen() ? large.step : tiles.step;
  const by = { arrowleft: -1, arrowright: 1, arrowup: -tiles.columns(), arrowdown: tiles.columns(), home: -Infinity, end: Infinity }[key];
  if (!by || (large.isOpen() && !["arrowleft", "arrowright"].includes(key))) return false;
  go(by);
  return true;
}

function decide(key, photo, target) {
  const place = Number(key) - 1;
  if (place >= 0 && runners(photo.item)[place]) work.decide(photo, "category", runners(photo.item)[place].label);
  else if (key === "a" || (["enter", " "].includes(key) && target.matches(".tile, #large-body"))) work.decide(photo, "accept");
  else if (key === "u") work.decide(photo, "unknown");
  else if (key === "b") work.decide(photo, "bad photo");
  else if (key === "c" || key === "/") pick(photo);
  else if (key === "v") large.isOpen() ? find("large").close() : large.open();
  else return false;
  return true;
}

export async function takeBack() {
  const photo = await work.undo();
  if (photo) tiles.take(photo, !large.isOpen());
}
