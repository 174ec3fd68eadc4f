// The page's views, of which one is shown.

import { find } from "./elements.js";

const NAMES = ["photos", "standing"];

// `shown` is called with the name of a view that is opened.
export function start(shown) {
  const tabs = NAMES.map((name) => find(`tab-${name}`));
  const open = (place) => {
    for (const [other, tab] of tabs.entries()) {
      tab.setAttribute("aria-selected", String(other === place));
      tab.tabIndex = other === place ? 0 : -1;
      find(NAMES[other]).hidden = other !== place;
    }
    tabs[place].focus();
    shown(NAMES[place]);
  };
  for (const [place, tab] of tabs.entries()) {
    tab.addEventListener("click", () => open(place));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      open((to + tabs.length) % tabs.length);
    });
  }
}
