// What is said of one photo, and what can be decided: the same beside a tile and in the large view.

import * as catalogue from "./catalogue.js";
import { bar, make } from "./elements.js";
import { say, share } from "./language.js";
import { leaf, nameOf, pathOf } from "./naming.js";
import { picture } from "./pictures.js";
import * as work from "./work.js";

// The queue has the five best labels, and the first of them is the suggestion.
const RUNNERS = 4;

// The labels that the keys 1 to 4 pick.
export function runners({ top, label }) {
  return top.filter((one) => one.label !== label).slice(0, RUNNERS);
}

// Why a photo is here, by what the model decided of it, and as what it is marked.
function reason({ decision, category }) {
  const [badge, text] = {
    auto: ["auto", say("whySpot")],
    coarse: ["coarse", say("whyCoarse", { group: leaf(category) })],
    unknown: ["unknown", say("whyUnknown")],
  }[decision] ?? ["review", say("whyReview")];
  return { badge, text };
}

export function spoken({ item, decided }) {
  if (decided) return say("sending");
  return say("tile", { what: nameOf(item.label, catalogue.of(item)), share: share(item.probability), why: reason(item).text, name: item.image });
}

// `pick` opens the choice of another category. Only what is at hand can be reached by Tab.
export function card(photo, { pick, heading = "h3", reached = true }) {
  const { item } = photo;
  const model = catalogue.of(item);
  const { badge, text } = reason(item);
  const above = pathOf(item.label, model);
  const button = (kind, key, word, click) => make("button", {
    type: "button", class: kind, tabindex: reached ? null : "-1", "aria-keyshortcuts": key, disabled: Boolean(photo.decided), click,
  }, word, make("kbd", { "aria-hidden": "true" }, key.toUpperCase()));
  const runner = (one, place) => make("li", {}, button("runner", String(place + 1),
    make("span", { class: "runner-name" }, nameOf(one.label, model), make("small", {}, share(one.probability))),
    () => work.decide(photo, "category", one.label)));
  return make("div", { class: "card" },
    make("p", {}, make("span", { class: `badge ${badge}` }, text)),
    make("div", {}, above && make("p", { class: "path" }, above), make(heading, {}, nameOf(item.label, model))),
    make("div", { class: "sureness" }, make("span", { class: "num" }, share(item.probability)), bar(item.probability, badge)),
    button("primary accept", "a", make("span", {}, say(photo.decided ? "sending" : "accept")), () => work.decide(photo, "accept")),
    make("ol", { class: "runner-ups", "aria-label": say("runners") }, ...runners(item).map(runner)),
    make("div", { class: "others" },
      button("quiet", "c", say("other"), () => pick(photo)),
      button("quiet", "u", say("unknown"), () => work.decide(photo, "unknown")),
      button("quiet", "b", say("bad"), () => work.decide(photo, "bad photo")),
    ),
    make("p", { class: "name" }, item.image),
  );
}

// The photo itself, or why it cannot be shown.
export function screen(item, large = false) {
  const frame = make("div", { class: "screen" });
  picture(item, large).then(
    (src) => frame.replaceChildren(make("img", { src, alt: say("photoAlt", { name: item.image }) })),
    (refused) => frame.replaceChildren(make("p", { class: "unpictured" }, refused.words, make("small", { lang: "en" }, refused.message))),
  );
  return frame;
}
