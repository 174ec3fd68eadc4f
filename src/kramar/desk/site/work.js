// The photos at hand and what was decided of them. All that the desk is asked for goes in order, one after the other:
// what was decided first is kept first, and what is taken back is the last that was kept.

import { announce, notice } from "./announcing.js";
import * as calls from "./calls.js";
import * as catalogue from "./catalogue.js";
import { say } from "./language.js";
import { leaf, nameOf } from "./naming.js";
import { Refused } from "./refused.js";

// Photos at once; new ones are asked for when half of them are decided.
const MOST = 12;
const FEW = 6;
// Milliseconds: nobody else gets the photos for five minutes, and longer when they are asked for again.
const RENEW = 90_000;
// Where there are none, others may give some back, or a model may put new ones into the queue.
const LOOK = 15_000;
const LONGEST = 10_000;
// Decisions of before that can be taken back after a reload.
const BACK = 20;

// Of each: `item`, `second` (a second opinion), `decided` ({ kind, label }) while that is not acknowledged.
export const photos = [];
export const state = { second: false, counts: null, seconds: 0, pending: 0, asked: false, last: null };
const done = [];
const listeners = [];
let before = Promise.resolve();
let needsKey = () => {};
let keyCame = null;

export function onChange(listener) {
  listeners.push(listener);
}

function changed() {
  for (const listener of listeners) listener();
}

// `asks` is called where a key is needed.
export function whenKeyNeeded(asks) {
  needsKey = asks;
}

export function goOn() {
  keyCame?.();
  keyCame = null;
}

// Begin as `reviewer`, whose last decisions can be taken back.
export async function begin(reviewer) {
  await tells(inTurn(async () => {
    // Only now: an earlier beginning may have waited for a key, and has put its own here.
    done.length = 0;
    photos.length = 0;
    await persist(catalogue.load);
    const { entries } = await persist(() => calls.history(100));
    const own = entries.filter((one) => one.reviewer === reviewer && one.stands && one.kind !== "undo");
    done.push(...own.slice(0, BACK).reverse().map((one) => ({ id: one.id, item: one.item, from: one.predicted, kind: one.kind, label: one.label })));
  }));
  return fill();
}

// Give all back, when everything before is done: somebody else decides from now on.
export function leave() {
  return inTurn(async () => {
    await calls.release();
    photos.length = 0;
    Object.assign(state, { second: false, counts: null, asked: false, last: null });
    changed();
  });
}

export function isFree(photo) {
  return !photo.decided;
}

export function choose(second) {
  if (state.second === second) return;
  state.second = second;
  if (second) inTurn(calls.release);
  photos.splice(0, photos.length, ...photos.filter((photo) => photo.decided));
  state.asked = false;
  fill();
}

// Ask for photos: those at hand once more, so that they stay here, and new ones.
export function fill() {
  return tells(inTurn(async () => {
    const { second } = state;
    const free = photos.filter(isFree).length;
    const found = await persist(() => calls.claim(Math.max(MOST, free), second));
    if (second !== state.second) return;
    if (!found.items.every(catalogue.knows)) await persist(catalogue.load);
    const there = new Set(found.items.map(name));
    const left = second ? [] : photos.filter((photo) => isFree(photo) && !photo.second && !there.has(name(photo.item)));
    for (const photo of left) drop(photo);
    if (left.length && state.asked) notice(["lost", { n: left.length }]);
    const known = new Set(photos.map((photo) => name(photo.item)));
    for (const item of found.items) if (!known.has(name(item))) photos.push({ item, second, decided: null });
    Object.assign(state, { counts: found.counts, seconds: found.seconds, asked: true });
    changed();
  }));
}

// Keep what was decided of a photo; it leaves when the desk has said that it is kept.
export function decide(photo, kind, label = "") {
  if (photo.decided || !photos.includes(photo)) return;
  photo.decided = { kind, label };
  state.pending += 1;
  changed();
  inTurn(async () => {
    try {
      const made = await kept(photo);
      done.push({ id: made.id, item: photo.item.id, from: photo.item.label, kind, label: made.label, model: catalogue.of(photo.item) });
      drop(photo);
      count(photo, 1);
      state.last = { decided: done.at(-1) };
      announce(words(done.at(-1)));
      notice();
    } catch (refused) {
      if (!(refused instanceof Refused)) throw refused;
      photo.decided = null;
      if (["decided", "taken", "undecided", "missing"].includes(refused.kind)) drop(photo);
      notice(["plain", { text: `${photo.item.image}: ${refused.words}` }]);
    } finally {
      state.pending -= 1;
      changed();
    }
  });
  if (photos.filter(isFree).length <= FEW) fill();
}

async function kept(photo) {
  const { item, second, decided } = photo;
  const send = () => persist(() => calls.decide(item, decided.kind, decided.label, second));
  try {
    return await send();
  } catch (refused) {
    if (refused.kind !== "taken") throw refused;
    // Another tab of the same reviewer may have given it back: if nobody took it, it is asked for once more.
    const found = await persist(() => calls.claim(100, false));
    if (!found.items.some((one) => name(one) === name(item))) throw refused;
    return send();
  }
}

export function canUndo() {
  return done.length > 0 || state.pending > 0;
}

// Take back the last decision; the photo is here again. Resolves with it.
export function undo() {
  return inTurn(async () => {
    const last = done.pop();
    if (!last) {
      announce(say("nothingToUndo"));
      return null;
    }
    let photo = null;
    try {
      const { item, second } = await persist(() => calls.undo(last.id));
      photo = { item, second, decided: null };
      if (!catalogue.knows(item)) await persist(catalogue.load);
      photos.unshift(photo);
      count(photo, -1);
      announce(say("undone", { what: words(last) }));
      state.last = { undone: last };
    } catch (refused) {
      if (!(refused instanceof Refused)) throw refused;
      // Taken back already, by an answer that was lost or in another tab: the photo comes with the next ones.
      if (refused.kind === "decided") fill();
      else notice(["plain", { text: refused.words }]);
    }
    changed();
    return photo;
  });
}

// "Apple → Pear", as said of a decision.
export function words({ from, kind, label, model = { classes: [] } }) {
  const named = (one) => (model.classes.length ? nameOf(one, model) : leaf(one));
  const what = { accept: () => say("saidAccept"), category: () => named(label), unknown: () => say("saidUnknown"), "bad photo": () => say("saidBad") };
  return `${named(from)} → ${what[kind]()}`;
}

// What makes a photo the same: its number may be another's when a newer model was asked.
function name({ id, sha256, model }) {
  return `${id} ${sha256} ${model}`;
}

function drop(photo) {
  const at = photos.indexOf(photo);
  if (at >= 0) photos.splice(at, 1);
}

// The counts as they are by now; the next answer says them anew.
function count(photo, by) {
  if (!state.counts || photo.second) {
    if (photo.second) state.seconds = Math.max(0, state.seconds - by);
    return;
  }
  state.counts.waiting -= by;
  state.counts.decided += by;
}

// Say why it could not be done.
function tells(work) {
  return work.catch((refused) => {
    if (!(refused instanceof Refused)) throw refused;
    notice(["plain", { text: refused.words }]);
  });
}

function inTurn(work) {
  const result = before.then(work);
  before = result.catch(() => {});
  return result;
}

// Do it until the desk has said yes or no: what it did not answer is asked again.
async function persist(call) {
  for (let wait = 1000; ; wait = Math.min(2 * wait, LONGEST)) {
    try {
      const answer = await call();
      if (wait > 1000) notice();
      return answer;
    } catch (refused) {
      if (refused.kind === "unauthorised") {
        needsKey();
        await new Promise((resolve) => (keyCame = resolve));
      } else if (refused.isPassing) {
        notice([refused.kind === "unavailable" ? "errorUnavailable" : "away"], ["sentLater"]);
        await new Promise((resolve) => setTimeout(resolve, wait));
      } else throw refused;
    }
  }
}

setInterval(() => state.asked && !state.second && fill(), RENEW);
setInterval(() => state.asked && !photos.length && document.visibilityState === "visible" && fill(), LOOK);
addEventListener("visibilitychange", () => document.visibilityState === "visible" && state.asked && fill());
addEventListener("pagehide", () => state.asked && calls.release());
addEventListener("pageshow", (event) => event.persisted && state.asked && fill());
addEventListener("beforeunload", (event) => state.pending && event.preventDefault());
