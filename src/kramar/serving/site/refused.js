// Why the service did not answer.

import { say, size } from "./language.js";

const WORDS = {
  unreadable: "errorUnreadable",
  media_type: "errorUnreadable",
  too_large: "errorTooLarge",
  deadline: "errorDeadline",
  slow_body: "errorDeadline",
  failed: "errorFailed",
  network: "errorNetwork",
  gone: "errorGone",
};
const PASSING = ["deadline", "slow_body", "failed", "network"];

export class Refused extends Error {
  // `kind` is the service's word for it or one of ours; `wait`, seconds after which the same may do better.
  constructor(kind, message, wait = 0, bytes = null) {
    super(message);
    this.kind = kind;
    this.wait = wait;
    this.bytes = bytes;
  }

  // Whether the same photo may be answered at another time.
  get isPassing() {
    return PASSING.includes(this.kind);
  }

  // In the page's language; `message` is the service's own line.
  get words() {
    if (this.bytes) return say("errorTooLargeBytes", { size: size(this.bytes.size), most: size(this.bytes.most) });
    return say(WORDS[this.kind] ?? "errorOther");
  }
}
