// Why the desk did not do what it was asked for.

import { say } from "./language.js";

const WORDS = {
  decided: "errorDecided",
  taken: "errorTaken",
  gone: "errorGone",
  replaced: "errorReplaced",
  unreadable: "errorUnreadable",
  too_large: "errorUnreadable",
  network: "errorNetwork",
  unavailable: "errorUnavailable",
};
// What may be done a little later: the desk is away, or the database is busy.
const PASSING = ["network", "unavailable", "queue_full", "slow_body"];

export class Refused extends Error {
  // `kind` is the desk's word for it or one of ours; `wait`, seconds after which the same may be done.
  constructor(kind, message, wait = 0) {
    super(message);
    this.kind = kind;
    this.wait = wait;
  }

  get isPassing() {
    return PASSING.includes(this.kind);
  }

  // In the page's language; `message` is the desk's own line.
  get words() {
    return this.kind in WORDS ? say(WORDS[this.kind]) : say("errorOther", { why: this.message });
  }
}
