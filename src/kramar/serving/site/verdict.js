// What the page says of one answer: its title, its path, and why it is so.

import { say, score, share, threshold } from "./language.js";
import { above, leaf, nameOf, pathOf } from "./naming.js";
import { kind } from "./photos.js";

// { title, path, guess }: what is shown large, what is above it, and the best guess where that is something else.
export function titled({ row, model, problem }) {
  if (problem) return { title: problem.words, path: "", guess: "" };
  if (!row) return { title: say("waiting"), path: "", guess: "" };
  const guess = say("guess", { label: nameOf(row.label, model), share: share(row.probability) });
  if (row.decision === "unknown") return { title: say("unknownTitle"), path: "", guess };
  if (row.decision === "coarse") return { title: leaf(row.category), path: above(row.category), guess };
  return { title: nameOf(row.label, model), path: pathOf(row.label, model), guess: "" };
}

// From which probability on an answer with this label needs no person; null where it always does.
function needed(label, model) {
  const { auto, auto_by_class: own = [] } = model.decisions;
  return own.length ? own[model.classes.findIndex((one) => one.label === label)] : auto.threshold;
}

export function why(photo) {
  const { row, model } = photo;
  switch (kind(photo)) {
    case "auto":
      return say("whyAuto", { from: threshold(needed(row.label, model)) });
    case "coarse":
      return say("whyCoarse");
    case "unknown":
      return say("whyUnknown", { score: score(row.unknown_score), most: score(model.decisions.unknown_above) });
    case "review": {
      const from = needed(row.label, model);
      return from == null
        ? say("whyReviewNever")
        : say("whyReview", { from: threshold(from) });
    }
    default:
      return say("whyNone");
  }
}
