// The photos side by side, one of them at hand: arrows go from one to the next, Tab goes into it.

import { card, screen, spoken } from "./card.js";
import { find, make } from "./elements.js";
import { onChange as onLanguage, say } from "./language.js";
import * as work from "./work.js";

const tiles = new Map();
let current = null;
let hands = { pick: () => {}, open: () => {} };

// `pick` opens the choice of another category of a photo, `open` shows it large.
export function start(pick, open) {
  hands = { pick, open };
  work.onChange(arrange);
  onLanguage(() => {
    for (const photo of tiles.keys()) fill(photo);
  });
}

// The photo at hand; null where none waits.
export function atHand() {
  return current;
}

export function focus(isScrolled = true) {
  (tiles.get(current) ?? find("tiles")).focus({ preventScroll: !isScrolled });
}

// Take another in hand.
export function take(photo, isFocused = true) {
  const last = current;
  current = photo;
  for (const one of [last, photo]) if (tiles.has(one)) reach(one);
  if (isFocused) focus();
}

// The one that is so many places further, or the first or last.
export function step(by) {
  const free = work.photos.filter(work.isFree);
  const at = free.indexOf(current);
  const to = free[Math.min(Math.max(at + by, 0), free.length - 1)];
  if (to) take(to);
}

// How many are in a line.
export function columns() {
  const all = [...find("tiles").children];
  const below = all.findIndex((tile) => tile.offsetTop > all[0].offsetTop);
  return below < 0 ? all.length : below;
}

function arrange() {
  const list = find("tiles");
  const hadFocus = list.contains(document.activeElement);
  const at = [...tiles.keys()].indexOf(current);
  for (const photo of work.photos) {
    if (!tiles.has(photo)) tiles.set(photo, make("article", { class: "tile", focusin: () => photo !== current && take(photo, false) }));
  }
  const order = [...tiles.keys()];
  if (!work.photos.includes(current) || current.decided) {
    const next = [...order.slice(at + 1), ...order.slice(0, Math.max(at, 0)).reverse()];
    current = next.find((photo) => work.photos.includes(photo) && work.isFree(photo)) ?? null;
  }
  for (const [photo, tile] of [...tiles]) {
    if (work.photos.includes(photo)) continue;
    tile.remove();
    tiles.delete(photo);
  }
  work.photos.forEach((photo, place) => {
    const tile = tiles.get(photo);
    if (list.children[place] !== tile) list.insertBefore(tile, list.children[place] ?? null);
    if (tile.dataset.decided !== String(Boolean(photo.decided)) || !tile.children.length) fill(photo);
    else reach(photo);
  });
  if (hadFocus && !(tiles.get(current) ?? list).contains(document.activeElement)) focus();
}

function fill(photo) {
  const tile = tiles.get(photo);
  const hadFocus = tile.contains(document.activeElement) && tile !== document.activeElement;
  const shown = tile.querySelector(".screen") ?? screen(photo.item);
  const open = make("button", { type: "button", class: "look", tabindex: "-1", "aria-label": say("look", { name: photo.item.image }), click: () => {
    take(photo);
    hands.open();
  } }, shown);
  tile.dataset.decided = String(Boolean(photo.decided));
  tile.replaceChildren(open, card(photo, { pick: hands.pick, reached: photo === current }));
  reach(photo);
  if (hadFocus) tile.focus();
}

function reach(photo) {
  const tile = tiles.get(photo);
  const isCurrent = photo === current;
  tile.tabIndex = isCurrent ? 0 : -1;
  tile.setAttribute("aria-label", spoken(photo));
  tile.classList.toggle("current", isCurrent);
  for (const button of tile.querySelectorAll(".card button")) button.tabIndex = isCurrent ? 0 : -1;
}
