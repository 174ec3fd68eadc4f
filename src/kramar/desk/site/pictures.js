// The photos' pictures, each fetched once: with a key, which an <img> cannot send.

import * as calls from "./calls.js";
import { Refused } from "./refused.js";

const MOST = 80;
const kept = new Map();

// The address of a photo's picture. Throws Refused.
export function picture(item, large = false) {
  const name = `${item.sha256} ${large}`;
  if (!kept.has(name)) {
    const found = calls.photo(item.id, large).then((blob) => URL.createObjectURL(blob));
    kept.set(name, found);
    found.catch((refused) => refused instanceof Refused && refused.isPassing && kept.delete(name));
    for (const [old, address] of kept) {
      if (kept.size <= MOST) break;
      kept.delete(old);
      address.then(URL.revokeObjectURL, () => {});
    }
  }
  return kept.get(name);
}
