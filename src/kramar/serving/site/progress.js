// How far the photos are, seen and heard.

import { announce } from "./announcing.js";
import { find } from "./elements.js";
import { onChange as onLanguage, say } from "./language.js";
import { isDone, onChange, photos } from "./photos.js";
import { pause } from "./sending.js";

const EVERY = 250;
// Seconds between two times that progress is said aloud.
const SAID_EVERY = 15;
// An estimate of so few photos or seconds would jump about.
const LEAST_PHOTOS = 8;
const LEAST_SECONDS = 5;

let due = 0;
let began = 0;
let doneBefore = 0;
let saidAt = 0;
// Whether photos have come that are not said to be answered yet; they may well be, between two looks.
let isOwed = false;

export function start() {
  onChange((photo) => {
    if (!isOwed && (photo ? !isDone(photo) : photos.some((one) => !isDone(one)))) {
      isOwed = true;
      [began, doneBefore, saidAt] = [Date.now(), photos.filter(isDone).length, Date.now()];
    }
    due ||= setTimeout(show, EVERY);
  });
  onLanguage(show);
}

function show() {
  clearTimeout(due);
  const all = photos.length;
  const done = photos.filter(isDone).length;
  const isRunning = done < all;
  const now = Date.now();
  find("results").hidden = all === 0;
  document.body.classList.toggle("has-photos", all > 0);
  find("bar").max = Math.max(all, 1);
  find("bar").value = done;
  find("progress").classList.toggle("running", isRunning);
  find("progress-text").textContent = words(done, all, now);
  if (!isRunning) {
    if (isOwed && all) announce(ended(all));
    isOwed = false;
  } else if (now - saidAt > 1000 * SAID_EVERY) {
    saidAt = now;
    announce(say("progress", { done, all }));
  }
  // While it waits, seconds go by without a change.
  due = isRunning && pause ? setTimeout(show, EVERY) : 0;
}

function words(done, all, now) {
  if (done === all) return ended(all);
  if (pause) return say(pause.key, { n: Math.max(1, Math.ceil((pause.until - now) / 1000)) });
  const seconds = (now - began) / 1000;
  const since = done - doneBefore;
  const left = (seconds / since) * (all - done);
  if (since < LEAST_PHOTOS || seconds < LEAST_SECONDS || left < LEAST_SECONDS) return say("progress", { done, all });
  const time = left < 90 ? say("seconds", { n: Math.ceil(left / 5) * 5 }) : say("minutes", { n: Math.round(left / 60) });
  return say("progressLeft", { done, all, time });
}

function ended(all) {
  const errors = photos.filter((photo) => photo.problem).length;
  return errors ? say("finishedErrors", { n: errors, all }) : say("finished", { n: all });
}
