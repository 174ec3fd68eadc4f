// The parts of the page, put together: what comes in is sent, what is answered is shown and can be taken away.

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
import * as sending from "./sending.js";
import { onModel } from "./service.js";
import { forget } from "./thumbnails.js";

export function start() {
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
}

function download() {
  const address = URL.createObjectURL(new Blob([csv(photos.filter(isDone))], { type: "text/csv" }));
  make("a", { href: address, download: "predictions.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
