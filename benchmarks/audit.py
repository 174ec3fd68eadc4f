"""The audit as a whole, and what it says of leaks: ``python -m benchmarks.audit``.

First ``kramar audit`` of Grocery, twice: the second time the features are there. Then a table is split by photo,
although a fifth of its photos have a copy: what the audit says of accuracy without the leaked photos is compared with
accuracy on the same split without any copies. Photos are Grocery's for development (benchmarks/development.py).
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import twins
from benchmarks.development import development
from benchmarks.harness import TABLE, bar, record, run, scratch
from kramar.data.manifest import hash_photos
from kramar.data.sources import list_photos
from kramar.progress import Silent

COPIED = 0.2
SEEDS = 4


def main(arguments: Sequence[str] = ()) -> None:
    """Time and memory, then leaks."""
    del arguments
    folder = scratch("audit")
    cache = folder / "cache"
    run("audit", str(TABLE), "--out", str(folder / "first"), cache=cache)
    done = run("audit", str(TABLE), "--out", str(folder / "again"), cache=cache)
    rooms = record(folder / "again")["seconds"]["rooms"]
    shown = ", ".join(f"{room} {seconds:.1f}" for room, seconds in rooms.items())
    print(f"      grocery, features and glances there: {done.seconds:.1f} s ({shown})")
    first = record(folder / "first")["seconds"]["rooms"]
    after = sum(seconds for room, seconds in first.items() if room != "features")
    bar("grocery, from cold, less features", f"{after:.1f} s", "<= 60 s", after <= 60)
    bar("grocery, peak memory", f"{done.peak_bytes / 1e9:.2f} GB", "<= 2 GB", done.peak_bytes <= 2e9)
    print(f"      issues: {json.dumps(record(folder / 'again')['issues'])}")
    gaps = [leaks(folder / str(seed), cache, seed) for seed in range(SEEDS)]
    worst = max(gaps, key=abs)
    print(f"      without leaked photos, less a clean split, on average: {100 * float(np.mean(gaps)):+.1f} points")
    bar("the same, the worst draw", f"{100 * worst:+.1f} points", "<= 1 point", abs(worst) <= 0.01)


def leaks(folder: Path, cache: Path, seed: int) -> float:
    """One split by photo: the audit's accuracy without leaked photos, less that without any copies."""
    folder.mkdir()
    entries, _ = hash_photos(list_photos(development(folder), {}), Silent())
    generator = np.random.default_rng(seed)
    rows, kinds = [], list(twins.KINDS)
    copied = set(generator.permutation(len(entries))[: round(COPIED * len(entries))].tolist())
    for number, entry in enumerate(entries):
        part = str(generator.choice(("train", "val", "test"), p=(0.7, 0.15, 0.15)))
        rows.append({"image": entry.image, "label": entry.label, "split": part})
        if number in copied:
            copy = twins.copy_of(entry, kinds[number % len(kinds)], generator)
            path = folder / f"{number}.jpg"
            path.write_bytes(copy.photo.read())
            part = str(generator.choice(("train", "val", "test"), p=(0.7, 0.15, 0.15)))
            rows.append({"image": str(path), "label": entry.label, "split": part, "copy": "1"})
    for name, some in (("leaky", rows), ("clean", [row for row in rows if "copy" not in row])):
        table = folder / f"{name}.csv"
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["image", "label", "split"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(some)
    run("audit", str(folder / "leaky.csv"), "--out", str(folder / "leaky"), cache=cache)
    leaky, clean = record(folder / "leaky")["leakage"], accuracy(folder / "clean.csv", cache)
    without = leaky["without"]["value"]
    print(
        f"      seed {seed}: {leaky['photos']} of {leaky['accuracy']['n']} test photos leaked; accuracy "
        f"{leaky['accuracy']['value']:.1%}, without them {without:.1%}, of the clean split {clean:.1%}"
    )
    return float(without - clean)


def accuracy(table: Path, cache: Path) -> float:
    """Of the same linear layer on a split without copies."""
    run(
        "train",
        str(table),
        "--rungs",
        "head",
        "--skip-audit",
        "--out",
        str(table.with_suffix("")) + "-run",
        cache=cache,
    )
    return float(record(table.parent / f"{table.stem}-run")["metrics"]["test"]["accuracy"]["value"])


if __name__ == "__main__":
    main(sys.argv[1:])
