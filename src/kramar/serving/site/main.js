// The page: what comes in is sent, what is answered is shown.

import { notice } from "./announcing.js";
import * as keyForm from "./key_form.js";
import { Refused } from "./refused.js";
import * as sending from "./sending.js";
import { model } from "./service.js";
import { start } from "./wiring.js";

// Seconds after which a service that did not answer is asked again.
const AGAIN = 3;

keyForm.start(() => model(true), sending.resume);
sending.whenKeyNeeded(keyForm.ask);
start();
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
