// What is done with answers, as the model file says: runtime/rule.py and data/tree.py of kramar, photo by photo.

export class Rule {
  constructor(decisions, classes) {
    this.decisions = decisions;
    this.paths = classes.map((one) => one.category);
    this.groups = groups(this.paths);
  }

  // { decision, category, members } for probabilities (Float32Array) and an unknown score, if there is one.
  decide(probabilities, unknown) {
    const { decisions } = this;
    const top = likeliest(probabilities);
    const members = this.members(probabilities);
    if (unknown != null && decisions.unknown_above != null && unknown > decisions.unknown_above) {
      return { decision: "unknown", category: "", members };
    }
    const own = decisions.auto_by_class;
    const least = own.length ? own[top] : decisions.auto.threshold;
    if (least != null && probabilities[top] >= least) return { decision: "auto", category: this.paths[top], members };
    const above = this.above(probabilities);
    if (above) return { decision: "coarse", category: above.path, members };
    return { decision: "review", category: this.paths[top], members };
  }

  // The deepest group that is sure enough, of equals the likelier.
  above(probabilities) {
    const { threshold } = this.decisions.coarse;
    if (threshold == null) return null;
    let best = null;
    let rank = -1;
    for (const group of this.groups) {
      const sum = group.places.reduce((all, place) => all + probabilities[place], 0);
      if (sum >= threshold && 2 * group.depth + sum > rank) [best, rank] = [group, 2 * group.depth + sum];
    }
    return best;
  }

  // The classes in the set, the likeliest first, which is always in it; none where there is no promise.
  members(probabilities) {
    const { set_least: least, set_least_by_class: own } = this.decisions;
    if (least == null) return [];
    // numpy compares with one number as float32, and with several as float64.
    const needed = (place) => (own.length ? (own[place] ?? least) : Math.fround(least));
    return ranked(probabilities).filter((place, rank) => rank === 0 || probabilities[place] >= needed(place));
  }
}

export function likeliest(probabilities) {
  return probabilities.reduce((best, one, place) => (one > probabilities[best] ? place : best), 0);
}

// All classes, the likeliest first, of equals the first.
export function ranked(probabilities) {
  return Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a] || a - b);
}

// Categories that hold several classes, but not all, in the order of their paths' parts.
function groups(paths) {
  const held = new Map();
  paths.forEach((path, place) => {
    const parts = path.split("/");
    parts.forEach((_, depth) => {
      const key = parts.slice(0, depth + 1).join("/");
      if (!held.has(key)) held.set(key, { path: key, depth: depth + 1, places: [] });
      held.get(key).places.push(place);
    });
  });
  const kept = [...held.values()].filter(({ places }) => places.length > 1 && places.length < paths.length);
  return kept.sort((a, b) => order(a.path.split("/"), b.path.split("/")));
}

// As Python puts lists of words in order: by code points.
function order(a, b) {
  for (let place = 0; place < Math.min(a.length, b.length); place++) {
    if (a[place] !== b[place]) return codes(a[place], b[place]);
  }
  return a.length - b.length;
}

function codes(a, b) {
  const [left, right] = [[...a], [...b]];
  for (let place = 0; place < Math.min(left.length, right.length); place++) {
    const difference = left[place].codePointAt(0) - right[place].codePointAt(0);
    if (difference) return difference;
  }
  return left.length - right.length;
}
