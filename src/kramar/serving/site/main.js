// The page: what comes in is sent, what is answered is shown.

import { announce, notice } from "./announcing.js";
import { csv } from "./csv.js";
import * as detail from "./detail.js";
import { find, make } from "./elements.js";
import * as facts from "./facts.js";
import * as intake from "./intake.js";
import * as keyForm from "./key_form.js";
import * as language from "./language.js";
import * as list from "./list.js";
import { add, changed, clear, isDone, photos } from "./photos.js";
import * as progress from "./progress.js";
import { Refused } from "./refused.js";
import * as sending from "./sending.js";
import { model, onModel } from "./service.js";
import { forget } from "./thumbnails.js";

// Seconds after which a service that did not answer is asked again.
const AGAIN = 3;

intake.start((files) => {
  // The page begins anew with its first photos.
  if (!photos.length) scrollTo(0, 0);
  const added = add(files);
  announce(language.say("added", { n: added.length }));
  sending.send(added);
});
list.start(detail.open, (photo) => {
  photo.problem = null;
  changed(photo);
  sending.send([photo]);
});
detail.start();
progress.start();
keyForm.start(() => model(true), sending.resume);
onModel(facts.show);
sending.whenKeyNeeded(keyForm.ask);
find("csv").addEventListener("click", download);
find("clear").addEventListener("click", () => {
  sending.stopAll();
  forget(photos);
  notice();
  clear();
  announce(language.say("cleared"));
  find("pick").focus();
});
language.start();
meet();

async function meet(again = false) {
  try {
    await model();
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    if (refused.kind === "unauthorised") return keyForm.ask();
    notice(["unreachable"]);
    setTimeout(() => meet(true), 1000 * AGAIN);
    return;
  }
  if (again) notice();
}

function download() {
  const address = URL.createObjectURL(new Blob([csv(photos.filter(isDone))], { type: "text/csv" }));
  make("a", { href: address, download: "predictions.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
