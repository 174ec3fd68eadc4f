// The photos' pictures, each fetched once unless that failed: with a key, which an <img> cannot send.

import * as calls from "./calls.js";

const MOST = 80;
// At once: a browser has six connections to a host, and decisions are not to wait for pictures.
const TOGETHER = 4;
// Why there is no picture of a photo, and will be none later either.
const LASTING = ["gone", "replaced", "unreadable", "too_large"];
const kept = new Map();
const waiting = [];
let fetching = 0;

// The address of a photo's picture. Throws Refused.
export function picture(item, large = false) {
  const name = `${item.sha256} ${large}`;
  if (!kept.has(name)) {
    const found = inTurn(() => calls.photo(item.id, large)).then((blob) => URL.createObjectURL(blob));
    kept.set(name, found);
    found.catch((refused) => {
      if (kept.get(name) === found && !LASTING.includes(refused.kind)) kept.delete(name);
    });
    for (const [old, address] of kept) {
      if (kept.size <= MOST) break;
      kept.delete(old);
      address.then(URL.revokeObjectURL, () => {});
    }
  }
  return kept.get(name);
}

async function inTurn(work) {
  if (fetching >= TOGETHER) await new Promise((resolve) => waiting.push(resolve));
  fetching += 1;
  try {
    return await work();
  } finally {
    fetching -= 1;
    waiting.shift()?.();
  }
}
