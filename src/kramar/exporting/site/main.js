// The page: what comes in is classified on this device, what is answered is shown.

import { notice } from "./announcing.js";
import { script } from "./scripts.js";
import { model } from "./service.js";
import { start } from "./wiring.js";
import { useWords } from "./words.js";

useWords();
start();
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
