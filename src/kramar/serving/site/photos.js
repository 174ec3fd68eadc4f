// The photos of this page, in the order in which they were added.

// Of each: `file`, `name`, `row` (the service's answer), `problem` ({ kind, text }), `model` (that answered).
export const photos = [];
const listeners = [];

export function onChange(listener) {
  listeners.push(listener);
}

// `photo` has changed; all of them, where none is given.
export function changed(photo = null) {
  for (const listener of listeners) listener(photo);
}

// Which of the page's filters a photo belongs to.
export function kind(photo) {
  if (photo.problem) return "error";
  if (!photo.row) return "waiting";
  return photo.row.decision || "answered";
}

export function isDone(photo) {
  return Boolean(photo.row || photo.problem);
}

export function add(files) {
  const added = files.map(({ file, name }) => ({ file, name, row: null, problem: null, model: null }));
  photos.push(...added);
  changed();
  return added;
}

export function clear() {
  photos.length = 0;
  changed();
}
