// The service, asked from its own page: every address is relative, so that a proxy may put all of it into a folder.

import { Refused } from "./refused.js";

const KEPT = "kramar-key";
// What a proxy before the service says in its own words.
const KINDS = { 413: "too_large", 429: "queue_full", 503: "unavailable", 504: "deadline" };
let key = "";
let description = null;
let met = () => {};

try {
  key = sessionStorage.getItem(KEPT) ?? "";
} catch {
  // Storage may be forbidden: the key is then asked for anew after a reload.
}

// Send this key from now on; `keep` it until the tab is closed.
export function useKey(given, keep) {
  key = given;
  try {
    if (keep) sessionStorage.setItem(KEPT, given);
    else sessionStorage.removeItem(KEPT);
  } catch {
    // see above
  }
}

async function ask(address, options = {}) {
  // Not Authorization, which a proxy's own login may need.
  const headers = key ? { ...options.headers, "X-API-Key": key } : options.headers;
  let answer;
  try {
    answer = await fetch(address, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Refused("network", error.message);
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  const wait = Number(answer.headers.get("Retry-After"));
  throw new Refused(said.kind ?? KINDS[answer.status] ?? "failed", said.error ?? `HTTP ${answer.status}`, wait > 0 ? wait : 1);
}

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
