// Photos are sent a few at a time, and again later where the service asks for it.

import { changed } from "./photos.js";
import { Refused } from "./refused.js";
import { classify } from "./service.js";

// The service makes batches of what comes at the same time, and browsers open six connections to one at most.
const AT_ONCE = 4;
const LONGEST_PAUSE = 30;
const TRIES = 3;

let waiting = [];
let running = 0;
let pauses = 0;
let stop = new AbortController();
const tries = new WeakMap();
// Why nothing is sent just now: { key, until } with a key of the strings.
export let pause = null;
let onKeyNeeded = () => {};

export function whenKeyNeeded(listener) {
  onKeyNeeded = listener;
}

export function send(photos) {
  waiting.push(...photos);
  fill();
}

// Drop what is not answered.
export function stopAll() {
  stop.abort();
  stop = new AbortController();
  waiting = [];
  running = 0;
  if (pause?.until) resume();
}

export function resume() {
  pause = null;
  changed();
  fill();
}

function fill() {
  while (!pause && running < AT_ONCE && waiting.length) work(waiting.shift(), stop.signal);
}

async function work(photo, signal) {
  running += 1;
  try {
    Object.assign(photo, { problem: null }, await classify(photo.file, { signal }));
    pauses = 0;
  } catch (refused) {
    if (signal.aborted) return;
    settle(photo, refused instanceof Refused ? refused : new Refused("failed", String(refused)));
  }
  if (signal.aborted) return;
  running -= 1;
  changed(photo);
  fill();
}

function settle(photo, refused) {
  if (refused.kind === "unauthorised") {
    waiting.unshift(photo);
    pause = { key: "keyNeeded" };
    onKeyNeeded();
  } else if (["too_many_requests", "queue_full", "unavailable"].includes(refused.kind)) {
    waiting.unshift(photo);
    wait(refused.wait, "busy");
  } else if (refused.kind === "network" && (tries.get(photo) ?? 1) < TRIES) {
    tries.set(photo, (tries.get(photo) ?? 1) + 1);
    waiting.unshift(photo);
    pauses += 1;
    wait(Math.min(2 ** (pauses - 1), LONGEST_PAUSE), "away");
  } else {
    tries.delete(photo);
    photo.problem = refused;
  }
}

// Nothing is sent for so many seconds, or longer where another photo was told so.
function wait(seconds, key) {
  const until = Date.now() + 1000 * seconds;
  if (pause && (!pause.until || pause.until >= until)) return;
  const own = (pause = { key, until });
  changed();
  setTimeout(() => {
    if (pause === own) resume();
  }, 1000 * seconds);
}
