// How a model's categories are called.

import { path } from "./language.js";

export function leaf(category) {
  return category.split("/").at(-1);
}

// The category's own name: the end of its path, which may differ from its label.
export function nameOf(label, model) {
  const found = model.classes.find((one) => one.label === label);
  return leaf(found?.category || label);
}

export function pathOf(label, model) {
  const found = model.classes.find((one) => one.label === label);
  return above(found?.category || label);
}

export function above(category) {
  return path(category.split("/").slice(0, -1).join("/"));
}
