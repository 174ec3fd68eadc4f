// In the place of the service: a worker of this page, which answers as it does.

import { Refused } from "./refused.js";
import { script } from "./scripts.js";

let worker = null;
let known = null;
let met = () => {};
let asked = 0;
const waiting = new Map();

// `listener` is given the model's description when it is there.
export function onModel(listener) {
  met = listener;
}

// The model that answers; `differs` says whether this device does not compute what it should.
export function model() {
  known ??= new Promise((done, failed) => {
    worker = new Worker(script("page/worker.js"), { type: "module" });
    worker.addEventListener("message", ({ data }) => {
      if (data.failed) failed(new Refused("failed", data.failed));
      else if (data.model) done({ ...data.model, differs: data.differs });
      else settle(data);
    });
    worker.addEventListener("error", (event) => failed(new Refused("failed", event.message || "worker")));
  }).then((found) => {
    met(found);
    return found;
  });
  return known;
}

function settle({ id, row, problem }) {
  const { done, failed } = waiting.get(id);
  waiting.delete(id);
  if (problem) failed(new Refused(problem.kind, problem.message));
  else done(row);
}

// The row for a photo, and the model that gave it.
export async function classify(file, { signal } = {}) {
  const found = await model();
  // Those that nobody waits for any more are not worth a second of work.
  signal?.throwIfAborted();
  const row = await new Promise((done, failed) => {
    const id = (asked += 1);
    waiting.set(id, { done, failed });
    worker.postMessage({ id, file });
  });
  return { row, model: found };
}
