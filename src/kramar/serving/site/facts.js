// The model: what it knows, how good it was, what it promises.

import { find, make } from "./elements.js";
import { onChange, path, say, share, target } from "./language.js";

let shown = null;

export function show(model) {
  shown = model;
  const { classes, decisions } = model;
  const [part, right] = measured(model);
  const lead = find("lead");
  lead.textContent = say(part === "test" ? "leadRight" : "lead", { n: classes.length, share: right && share(right.value) });
  lead.hidden = false;
  find("facts").replaceChildren(
    fact(say("categories"), say("plain", { n: classes.length })),
    fact(say(part === "val" ? "rightVal" : "right"), right ? share(right.value) : "–", right ? interval(right) : say("notMeasured")),
    fact(say("promised"), decisions ? target(decisions.precision_target) : "–", promise(decisions)),
  );
  const categories = classes.map((one) => path(one.category || one.label)).sort(new Intl.Collator().compare);
  find("categories").replaceChildren(...categories.map((one) => make("li", {}, one)));
  find("meanings").replaceChildren(
    ...["Auto", "Coarse", "Review", "Unknown"].map((name) => {
      const word = name.toLowerCase();
      const badge = make("span", { class: `badge ${word}` }, say(word));
      return make("div", {}, make("dt", {}, badge, make("code", {}, word)), make("dd", {}, say(`means${name}`)));
    }),
  );
  const { backbone, kramar, sha256 } = model.provenance;
  find("origin").textContent = say("origin", { backbone, size: model.size, kramar, sha: sha256.slice(0, 12) });
  find("model").hidden = false;
}

onChange(() => shown && show(shown));

function measured({ metrics }) {
  const part = ["test", "val"].find((name) => metrics[name]);
  return [part, part && metrics[part].accuracy];
}

function interval({ low, high, n }) {
  return say("interval", { low: share(low), high: share(high), n });
}

function promise(decisions) {
  if (!decisions) return say("noPromise");
  const { threshold, guaranteed } = decisions.auto;
  if (threshold == null) return say("notShown");
  return say(guaranteed ? "guaranteed" : "estimated");
}

function fact(name, value, more = null) {
  return make("div", {}, make("dt", {}, name), make("dd", {}, value, more && make("small", {}, more)));
}
