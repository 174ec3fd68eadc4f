// The form that asks for the service's key, where it has any.

import { useKey } from "./asking.js";
import { find } from "./elements.js";
import { onChange, say } from "./language.js";

let problem = null;

// `meet` asks the service for something that needs a key; `use` is called when a key has been taken.
export function start(meet, use) {
  onChange(tell);
  find("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    problem = null;
    tell();
    useKey(find("key").value.trim(), find("keep-key").checked);
    try {
      await meet();
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
