// The categories: what models know, and what reviewers added.

import * as calls from "./calls.js";

const models = new Map();
let added = [];

export async function load() {
  const found = await calls.categories();
  added = found.added;
  models.clear();
  for (const { model, classes } of found.models) models.set(model, { classes: [...classes, ...added] });
}

export function knows(item) {
  return models.has(item.model);
}

// What may be picked of a photo, with paths: `{ classes }`.
export function of(item) {
  return models.get(item.model) ?? { classes: added };
}

export async function add(label, path) {
  const made = await calls.addCategory(label, path);
  await load();
  return made;
}
