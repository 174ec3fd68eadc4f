// A service, asked from its own page: every address is relative, so that a proxy may put all of it into a folder.

import { Refused } from "./refused.js";

const KEPT = "kramar-key";
// What a proxy before the service says in its own words.
const KINDS = { 413: "too_large", 429: "queue_full", 503: "unavailable", 504: "deadline" };
let key = "";

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

export async function ask(address, options = {}) {
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
