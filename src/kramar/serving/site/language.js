// Which language the page speaks, and how it writes texts, numbers and sizes in it.

import { STRINGS } from "./strings.js";

const KEPT = "kramar-language";
const listeners = [];
let language = "en";
let plurals, numbers, shares, finer;

// Storage may be forbidden (a browser's setting): the choice then lasts as long as the page.
function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

function keep() {
  try {
    localStorage.setItem(KEPT, language);
  } catch {
    // nothing to do
  }
}

function speak(chosen) {
  language = chosen;
  plurals = new Intl.PluralRules(chosen);
  numbers = new Intl.NumberFormat(chosen);
  shares = new Intl.NumberFormat(chosen, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
  finer = new Intl.NumberFormat(chosen, { style: "percent", maximumFractionDigits: 2 });
  document.documentElement.lang = chosen;
  document.title = say("pageTitle");
  for (const one of document.querySelectorAll("[data-say]")) one.textContent = say(one.dataset.say);
  for (const one of document.querySelectorAll("[data-label]")) {
    one.setAttribute("aria-label", say(one.dataset.label));
    if (one.tagName === "BUTTON") one.title = say(one.dataset.label);
  }
  for (const one of document.querySelectorAll("[data-language]")) {
    one.setAttribute("aria-pressed", String(one.dataset.language === chosen));
  }
  for (const listener of listeners) listener();
}

export function start() {
  const wanted = navigator.language.toLowerCase().split("-")[0];
  const before = kept();
  speak(before in STRINGS ? before : wanted in STRINGS ? wanted : "en");
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      speak(button.dataset.language);
      keep();
    });
  }
}

// `listener` is called whenever the language has changed, to say anew what it said.
export function onChange(listener) {
  listeners.push(listener);
}

export function say(key, values = {}) {
  let text = STRINGS[language][key];
  if (typeof text === "object") text = text[plurals.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name]));
}

export function number(value) {
  return numbers.format(value);
}

// 0.742 as 74.2%; what is not quite all or nothing never reads so.
export function share(value) {
  if (value >= 0.9995 && value < 1) return `>${shares.format(0.999)}`;
  if (value > 0 && value < 0.0005) return `<${shares.format(0.001)}`;
  return shares.format(value);
}

// 0.98 as 98%, 0.995 as 99.5%: what someone has chosen.
export function target(value) {
  return finer.format(value);
}

// A threshold, rounded up, so that nothing below it reads as if it had reached it.
export function threshold(value) {
  return shares.format(Math.ceil(1000 * value - 1e-9) / 1000);
}

export function score(value) {
  return value.toLocaleString(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

export function size(bytes) {
  const digits = { style: "unit", unit: "megabyte", maximumFractionDigits: 1 };
  return (bytes / 1e6).toLocaleString(language, digits);
}

export function path(category) {
  return category.replaceAll("/", " › ");
}
