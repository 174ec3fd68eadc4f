// The photo at hand, large.

import { card, screen, spoken } from "./card.js";
import { find, make, onClosed } from "./elements.js";
import { onChange as onLanguage, say } from "./language.js";
import * as tiles from "./tiles.js";
import * as work from "./work.js";

let shown = null;
let pick = () => {};

// `picks` opens the choice of another category of a photo.
export function start(picks) {
  pick = picks;
  const dialog = find("large");
  find("large-close").addEventListener("click", () => dialog.close());
  find("before").addEventListener("click", () => step(-1));
  find("after").addEventListener("click", () => step(1));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  onClosed(dialog, () => {
    shown = null;
    tiles.focus();
  });
  work.onChange(update);
  onLanguage(() => shown && fill());
}

export function isOpen() {
  return find("large").open;
}

export function open() {
  if (!tiles.atHand()) return;
  find("large").showModal();
  find("large-body").focus();
  update();
}

export function step(by) {
  const free = work.photos.filter(work.isFree);
  const to = free[free.indexOf(tiles.atHand()) + by];
  if (!to) return;
  tiles.take(to, false);
  update();
}

// Show what is at hand by now, which moves on when something is decided.
function update() {
  if (!isOpen()) return;
  const photo = tiles.atHand();
  if (!photo) return find("large").close();
  if (photo !== shown) fill(photo);
  place();
}

function fill(photo = shown) {
  shown = photo;
  const body = find("large-body");
  const hadFocus = body.contains(document.activeElement);
  body.replaceChildren(
    make("figure", { class: "frame" }, screen(photo.item, true)),
    card(photo, { pick, heading: "h2" }),
  );
  if (hadFocus) body.focus();
  // Those who hear the page hear nothing of what is outside of an open dialog.
  find("large-said").textContent = spoken(photo);
}

function place() {
  const free = work.photos.filter(work.isFree);
  const at = free.indexOf(shown);
  find("large-place").textContent = say("place", { n: at + 1, all: free.length, name: shown.item.image });
  // Not disabled: a button that is keeps no focus, and keys would go nowhere.
  find("before").setAttribute("aria-disabled", String(at <= 0));
  find("after").setAttribute("aria-disabled", String(at + 1 >= free.length));
}
