// Who decides: the key's name, or what somebody said once on this machine.

import * as calls from "./calls.js";
import { find } from "./elements.js";
import * as work from "./work.js";

const KEPT = "kramar-reviewer";
let begin = () => {};

// `begins` is called with the name, when it is known.
export function start(begins) {
  begin = begins;
  find("name-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = find("name").value.trim();
    if (!name) return;
    keep(name);
    use(name);
  });
  find("who-change").addEventListener("click", () => work.leave().then(ask));
}

// `keyed` is the name that the key says, where there are keys.
export function meet(keyed) {
  find("who-change").hidden = Boolean(keyed);
  const name = keyed || kept();
  if (!name) return ask();
  use(name, keyed);
}

function ask() {
  find("desk").hidden = find("who").hidden = find("trace").hidden = true;
  find("name-form").hidden = false;
  find("name").value = kept();
  find("name").select();
  find("name").focus();
}

function use(name, keyed = "") {
  calls.speakFor(keyed ? "" : name);
  find("name-form").hidden = true;
  find("desk").hidden = find("who").hidden = false;
  find("who-name").textContent = name;
  begin(name);
}

// Storage may be forbidden (a browser's setting): the name is then asked for each time.
function kept() {
  try {
    return localStorage.getItem(KEPT) ?? "";
  } catch {
    return "";
  }
}

function keep(name) {
  try {
    localStorage.setItem(KEPT, name);
  } catch {
    // nothing to do
  }
}
