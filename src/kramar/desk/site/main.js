// The desk: who decides, the photos, the keys, and how it stands.

import { notice } from "./announcing.js";
import * as calls from "./calls.js";
import * as keyForm from "./key_form.js";
import * as keys from "./keys.js";
import * as language from "./language.js";
import * as large from "./large.js";
import * as picker from "./picker.js";
import { Refused } from "./refused.js";
import * as reviewer from "./reviewer.js";
import * as standing from "./standing.js";
import * as tabs from "./tabs.js";
import * as tiles from "./tiles.js";
import * as trace from "./trace.js";
import * as work from "./work.js";

// Milliseconds after which a desk that did not answer is asked again.
const AGAIN = 3000;
let met = null;

tiles.start(picker.open, large.open);
large.start(picker.open);
picker.start(() => large.isOpen() || tiles.focus());
keys.start(picker.open);
trace.start(() => met?.learn ?? "");
standing.start();
tabs.start((view) => {
  if (view === "standing") return standing.open();
  work.fill();
});
reviewer.start(async (name) => {
  await work.begin(name);
  if (document.activeElement === document.body) tiles.focus(false);
});
work.whenKeyNeeded(keyForm.ask);
keyForm.start(async () => {
  met = await calls.desk();
}, () => {
  work.goOn();
  if (!work.state.asked) reviewer.meet(met.reviewer);
});
language.start();
meet();

async function meet(again = false) {
  try {
    met = await calls.desk();
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    if (refused.kind === "unauthorised") return keyForm.ask();
    notice(["unreachable"]);
    setTimeout(() => meet(true), AGAIN);
    return;
  }
  if (again) notice();
  reviewer.meet(met.reviewer);
}
