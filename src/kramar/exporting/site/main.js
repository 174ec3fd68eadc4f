// The page: what comes in is classified on this device, what is answered is shown.

import { announce, notice } from "./announcing.js";
import { csv } from "./csv.js";
import * as detail from "./detail.js";
import { find, make } from "./elements.js";
import * as facts from "./facts.js";
import * as intake from "./intake.js";
import * as language from "./language.js";
import * as list from "./list.js";
import { add, changed, clear, isDone, photos } from "./photos.js";
import * as progress from "./progress.js";
import { script } from "./scripts.js";
import * as sending from "./sending.js";
import { model, onModel } from "./service.js";
import { forget } from "./thumbnails.js";
import { useWords } from "./words.js";

useWords();
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
onModel(facts.show);
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
keep();

async function meet() {
  notice(["loading"]);
  try {
    const { differs } = await model();
    notice(...(differs ? [["differs"]] : []));
  } catch (refused) {
    notice(["noModel", { why: refused.message }]);
  }
}

// Without a network from the next visit on, where the browser allows that: on HTTPS, or on this machine.
async function keep() {
  try {
    await navigator.serviceWorker?.register(script("offline.js"), { updateViaCache: "none" });
  } catch (error) {
    // The page works all the same; what it misses is for those who look.
    console.info(`Not kept for later: ${error.message}`);
  }
}

function download() {
  const address = URL.createObjectURL(new Blob([csv(photos.filter(isDone))], { type: "text/csv" }));
  make("a", { href: address, download: "predictions.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
