// What is said to those who hear the page, and short notices for all.

import { find } from "./elements.js";
import { onChange, say } from "./language.js";

let noticed = [];

export function announce(text) {
  find("announcer").textContent = text;
}

// Show texts, each a key of the strings and its values; none takes the notice away.
export function notice(...texts) {
  noticed = texts;
  find("notice").textContent = texts.map(([key, values]) => say(key, values)).join(" ");
}

onChange(() => notice(...noticed));
