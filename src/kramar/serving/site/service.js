// What the service answers of its model and of photos.

import { ask } from "./asking.js";
import { Refused } from "./refused.js";

let description = null;
let met = () => {};

// `listener` is given the model's description when it is known, and when another model has taken its place.
export function onModel(listener) {
  met = listener;
}

// The model that answers, as the service describes it; `anew` asks also where it is known.
export async function model(anew = false) {
  if (anew || !description) {
    description = await (await ask("v1/model")).json();
    met(description);
  }
  return description;
}

// The service's row for a photo, and the model that gave it.
export async function classify(file, { heatMap = false, signal } = {}) {
  const most = (await model()).limits.body;
  if (file.size > most) throw new Refused("too_large_bytes", "", 0, { size: file.size, most });
  const address = heatMap ? "v1/classify?heat_map=true" : "v1/classify";
  let answer;
  try {
    answer = await ask(address, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: file,
      signal,
    });
  } catch (refused) {
    if (refused.kind === "network") await stillThere(file);
    throw refused;
  }
  const by = answer.headers.get("X-Kramar-Model");
  const { predictions } = await answer.json();
  return { row: predictions[0], model: await model(by !== (await model()).provenance.sha256) };
}

// A browser tells of a file that was moved or changed as of a service that is away.
async function stillThere(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch (error) {
    throw new Refused("gone", error.message);
  }
}
