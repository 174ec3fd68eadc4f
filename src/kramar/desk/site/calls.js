// What the desk is asked for.

import { ask } from "./asking.js";

let reviewer = "";

// Who decides from now on; empty where a key says it.
export function speakFor(name) {
  reviewer = name;
}

async function read(address) {
  return (await ask(address)).json();
}

async function change(address, given, options = {}) {
  const body = JSON.stringify(reviewer ? { ...given, reviewer } : given);
  const headers = { "Content-Type": "application/json" };
  return (await ask(address, { method: "POST", headers, body, ...options })).json();
}

export const desk = () => read("v1/desk");
export const claim = (most, second) => change("v1/claims", { most, second });
export const decide = ({ id, sha256 }, kind, label, second) => change("v1/decisions", { item: id, sha256, kind, label, second });
export const undo = (decision) => change("v1/undo", { decision });
export const categories = () => read("v1/categories");
export const addCategory = (label, category) => change("v1/categories", { label, category });
export const standing = () => read("v1/standing");
export const history = (most, before) => read(`v1/history?most=${most}${before ? `&before=${before}` : ""}`);

// A photo's JPEG as a blob.
export async function photo(item, large) {
  return (await ask(`v1/photos/${item}${large ? "?large=true" : ""}`)).blob();
}

// Let others have what is not decided; it is sent also while the page goes away.
export function release() {
  return change("v1/release", {}, { keepalive: true }).catch(() => {});
}
