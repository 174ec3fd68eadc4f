// What was decided last, and the way back; how many photos there are, and which ones are shown.

import { find, make } from "./elements.js";
import { takeBack } from "./keys.js";
import { number, onChange as onLanguage, say } from "./language.js";
import * as tiles from "./tiles.js";
import * as work from "./work.js";

// `learn` is the command that makes the model learn.
export function start(learn) {
  find("undo").addEventListener("click", takeBack);
  const show = () => {
    trace();
    counts();
    modes();
    nothing(learn());
  };
  work.onChange(show);
  onLanguage(show);
}

function trace() {
  const { last, pending } = work.state;
  find("trace").hidden = !work.canUndo();
  find("trace").classList.toggle("pending", pending > 0);
  const text = pending > 1 ? say("sendingMore", { n: pending }) : "";
  find("trace-text").textContent = text || (last?.decided ? work.words(last.decided) : last?.undone ? say("undone", { what: work.words(last.undone) }) : "");
}

function counts() {
  const found = work.state.counts;
  find("counts").textContent = found ? say("counts", { decided: found.decided }) : "";
}

function modes() {
  const { counts: found, seconds, second } = work.state;
  const all = { modeNew: found?.waiting ?? 0, modeSecond: seconds };
  const box = find("modes");
  if (box.children.length === 1) box.append(...Object.keys(all).map((name) => make("label", { class: "chip" },
    make("input", { type: "radio", name: "mode", value: name, change: () => work.choose(name === "modeSecond") }),
    make("span", { class: "chip-name" }), make("span", { class: "count" }))));
  for (const input of box.querySelectorAll("input")) {
    input.checked = (input.value === "modeSecond") === second;
    input.nextSibling.textContent = say(input.value);
    input.parentElement.lastChild.textContent = number(all[input.value]);
    input.parentElement.hidden = input.value === "modeSecond" && !seconds && !second;
  }
}

function nothing(learn) {
  const { asked, counts: found, second, seconds } = work.state;
  const box = find("nothing");
  box.hidden = !asked || work.photos.length > 0;
  if (box.hidden) return;
  const leased = !second && found.leased > 0;
  box.replaceChildren(
    make("h2", {}, say(second ? "noSeconds" : leased ? "allLeased" : "allDone")),
    make("p", {}, say("howToLearn"), " ", make("code", {}, learn)),
    !second && seconds > 0 && make("button", { type: "button", class: "primary", click: () => work.choose(true) }, say("giveSeconds", { n: seconds })),
  );
  if (document.activeElement === document.body) tiles.focus();
}
