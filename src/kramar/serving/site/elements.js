// Elements of the page, made without HTML in strings: the page's policy allows none (Trusted Types).

export function find(id) {
  return document.getElementById(id);
}

// An element with attributes (`class`, `aria-label`, ...; a function is a listener) and children; what is empty or
// false is left out.
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter(Boolean));
  return made;
}

// Told after a dialog was closed, unless it was opened again before: the event comes a moment later.
export function onClosed(dialog, then) {
  dialog.addEventListener("close", () => dialog.open || then());
}

// A bar as long as `value`, of 1.
export function bar(value, kind = "") {
  const made = make("span", { class: `bar ${kind}`, "aria-hidden": "true" });
  made.style.setProperty("--v", String(value));
  return made;
}
