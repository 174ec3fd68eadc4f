// What the review has come to: how many, who, how far they agree, whether the promise is kept, and the history.

import { notice } from "./announcing.js";
import * as calls from "./calls.js";
import { find, make } from "./elements.js";
import { number, onChange as onLanguage, say, share, target } from "./language.js";
import { leaf } from "./naming.js";
import { Refused } from "./refused.js";

const ROWS = 30;
let found = null;
let rows = [];
let before = null;
let problem = null;

export function start() {
  onLanguage(() => !find("standing").hidden && show());
}

// Ask anew, and show it.
export async function open() {
  try {
    problem = null;
    const [standing, history] = await Promise.all([calls.standing(), calls.history(ROWS)]);
    found = standing;
    ({ entries: rows, before } = history);
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    problem = refused;
  }
  show();
}

async function more() {
  try {
    const history = await calls.history(ROWS, before);
    rows = [...rows, ...history.entries];
    ({ before } = history);
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    return notice(["plain", { text: refused.words }]);
  }
  show();
  find("history-more")?.focus();
}

function show() {
  const box = find("standing");
  if (problem) return box.replaceChildren(make("p", { class: "note" }, problem.words));
  if (!found) return;
  box.replaceChildren(
    make("h2", {}, say("tabStanding")),
    make("dl", { class: "facts" }, ...facts()),
    ...found.live.map(live),
    make("section", {}, make("h3", {}, say("learnTitle")), make("p", {}, say("learnText"), " ", make("code", {}, found.learn))),
    reviewers(),
    history(),
  );
}

function fact(name, value, more = "") {
  return make("div", {}, make("dt", {}, name), make("dd", {}, value, more && make("small", {}, more)));
}

function facts() {
  const { waiting, leased, decided, disputed } = found.counts;
  const { agreement } = found;
  return [
    fact(say("factWaiting"), number(waiting), say("factLeased", { n: leased })),
    fact(say("factDecided"), number(decided), say("factDisputed", { n: disputed })),
    fact(say("factAgreement"), agreement ? share(agreement.value) : "–", agreement ? interval(agreement) : say("noAgreement")),
  ];
}

function interval({ low, high, n }) {
  return say("interval", { low: share(low), high: share(high), n });
}

function live(one) {
  const { precision, alarm, since, category, wrong, waiting, left_out: leftOut } = one;
  const names = Object.entries(wrong).slice(0, 5).map(([label, n]) => `${leaf(label)} (${number(n)})`);
  return make("section", { class: alarm ? "live alarm" : "live" },
    make("h3", {}, say(one.current ? "liveTitle" : "liveOld", { sha: one.model.slice(0, 12) })),
    alarm && make("p", { class: "problem" }, say(category ? "alarmOf" : "alarm", { since, target: target(one.target), name: leaf(category) })),
    make("dl", { class: "facts" },
      fact(say("factLive"), precision ? share(precision.value) : "–", precision ? interval(precision) : say("noChecks")),
      fact(say("factPromise"), one.target == null ? "–" : target(one.target), alarm || !precision ? "" : say("noAlarm")),
      fact(say("factChecks"), number(waiting), leftOut ? say("leftOut", { n: leftOut }) : ""),
    ),
    names.length > 0 && make("p", { class: "small" }, say("wrongMost", { names: names.join(", ") })),
  );
}

function table(caption, heads, lines) {
  return make("div", { class: "sideways", tabindex: "0", role: "region", "aria-label": caption },
    make("table", {},
      make("caption", {}, caption),
      make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, ...lines),
    ));
}

function reviewers() {
  if (!found.reviewers.length) return null;
  return table(say("reviewersTitle"), [say("colReviewer"), say("colDecided")], found.reviewers.map((one) =>
    make("tr", {}, make("th", { scope: "row" }, one.reviewer), make("td", { class: "num" }, number(one.decided)))));
}

function history() {
  if (!rows.length) return null;
  const when = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  const what = ({ kind, label, predicted }) => ({
    accept: () => say("historyAccept", { label: leaf(label) }),
    category: () => `${leaf(predicted)} → ${leaf(label)}`,
    unknown: () => `${leaf(predicted)} → ${say("saidUnknown")}`,
    "bad photo": () => `${leaf(predicted)} → ${say("saidBad")}`,
    undo: () => say("historyUndo"),
  })[kind]();
  const heads = ["colWhen", "colReviewer", "colPhoto", "colWhat"].map((key) => say(key));
  const lines = rows.map((one) => make("tr", { class: one.stands || one.kind === "undo" ? "" : "undone" },
    make("td", {}, when.format(new Date(one.at))),
    make("td", {}, one.reviewer),
    make("th", { scope: "row" }, one.image),
    make("td", {}, what(one), one.kind !== "undo" && !one.stands && make("small", {}, say("takenBack"))),
  ));
  return make("div", {}, table(say("historyTitle"), heads, lines),
    before && make("p", { class: "more" }, make("button", { type: "button", id: "history-more", click: more }, say("historyMore"))));
}
