// The form that asks for the service's key, where it has any.

import { find } from "./elements.js";
import { onChange, say } from "./language.js";
import { model, useKey } from "./service.js";

let problem = null;

// `use` is called when a key has been taken.
export function start(use) {
  onChange(tell);
  find("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    problem = null;
    tell();
    useKey(find("key").value.trim(), find("keep-key").checked);
    try {
      await model(true);
    } catch (refused) {
      problem = refused;
      // What is wrong is not kept.
      if (refused.kind === "unauthorised") useKey("", false);
      tell();
      find("key").focus();
      return;
    }
    find("key-form").hidden = true;
    find("key").value = "";
    use();
  });
}

export function ask() {
  if (!find("key-form").hidden) return;
  find("key-form").hidden = false;
  find("key").focus();
}

function tell() {
  const words = { unauthorised: () => say("keyWrong") };
  find("key-problem").textContent = problem ? (words[problem.kind]?.() ?? problem.words) : "";
}
