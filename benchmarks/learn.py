"""``python -m benchmarks.learn [--tiny]``: what ``kramar learn`` gains and takes, and which photos to review first.

Grocery without its official test photos (benchmarks/development.py). Groups of alike training photos, half of them, are
taken out of training: they are what comes in later, is queued, and is decided as its labels say. The stand-ins for test
photos are what it is measured on: nothing is learnt from them. ``--tiny`` only shows that it runs.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

import kramar
from benchmarks.development import alike, development
from benchmarks.harness import bar, embeddings, run, scratch
from kramar.config import cache_folder
from kramar.data.listing import PhotoFile, Row
from kramar.exporting import fingerprints, last_layer
from kramar.jobs.seen import NAME as SEEN
from kramar.jobs.seen import Seen
from kramar.models.linear import Linear
from kramar.reviewing import findings
from kramar.reviewing.database import Database
from kramar.reviewing.ordering import STRATEGIES, Waiting, ranked
from kramar.reviewing.queue import Queue
from kramar.reviewing.records import CATEGORY
from kramar.runtime.model import Model
from kramar.training.head import Part
from kramar.training.relearn import Relearning

CORRECTIONS, REVIEWED, BATCH, SEEDS = 200, 500, 50, 3
MOST_SECONDS = 15.0
Right = npt.NDArray[np.float64]


def tables(folder: Path, each: int | None) -> tuple[Path, Path, dict[str, str]]:
    """A table to train and test on, one of what comes in later, and the label of each photo of that."""
    with development(folder).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    train = [row for row in rows if row["split"] == "train"]
    photos = [Row(row["image"], PhotoFile(Path(row["image"])), row["label"], row["category"]) for row in train]
    entries, found = embeddings(photos)
    place_of = {entry.image: place for place, entry in enumerate(entries)}
    seen = found[[place_of[row["image"]] for row in train]]
    numbers = np.unique([row["label"] for row in train], return_inverse=True)[1]
    groups = np.array(alike(seen, numbers, np.ones(len(train), bool)))
    random = np.random.default_rng(0)
    later = np.zeros(len(train), bool)
    for number in np.unique(numbers):
        own = np.unique(groups[numbers == number])
        # A class keeps a group to be learnt from.
        later |= np.isin(groups, random.permutation(own)[: len(own) // 2])
    coming = {row["image"] for row, away in zip(train, later, strict=True) if away}
    kept = [row for row in rows if row["image"] not in coming]
    new = [row for row in train if row["image"] in coming]
    if each is not None:
        kept, new = _first(kept, each), new[: 4 * each]
    known = {row["label"] for row in kept if row["split"] == "train"}
    new = [row for row in new if row["label"] in known]
    return _write(kept, folder / "kept.csv"), _write(new, folder / "new.csv"), {r["image"]: r["label"] for r in new}


def _first(rows: list[dict[str, str]], each: int) -> list[dict[str, str]]:
    counts: dict[tuple[str, str], int] = {}
    kept = []
    for row in rows:
        key = row["label"], row["split"]
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= each:
            kept.append(row)
    return kept


def _write(rows: list[dict[str, str]], path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["image", "label", "category", "split"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def learnt(trained: Path, labels: dict[str, str], table: Path, folder: Path, corrections: int) -> None:
    """Review some of the queue, learn, and compare the file with the one before on the same photos."""
    place = Path(shutil.copytree(trained, folder / "reviewed"))
    database = Database(str(place / "review.sqlite"))
    queue = Queue(database)
    decided = 0
    while decided < corrections and (items := queue.claim("benchmark", min(20, corrections - decided))):
        for item in items:
            queue.decide(item.id, "benchmark", CATEGORY, labels[item.image])
        decided += len(items)
    database.close()
    done = run("learn", str(place), cache=cache_folder())
    print("      " + done.output.strip().replace("\n", "\n      "))
    bar(f"kramar learn with {decided} corrections, whole command", f"{done.seconds:.1f} s", "at most 15 s",
        done.seconds <= MOST_SECONDS)  # fmt: skip
    pair = kramar.evaluate([place / "model.onnx", trained / "model.onnx"], table, split="test").comparisons[0]
    print(f"      on the stand-ins: {pair.words()}")
    gap = pair.difference
    bar("gain on other photos, points", f"{100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})",
        "above 0", gap.value > 0)  # fmt: skip


class Review:
    """A simulated review: batches are chosen by a strategy, decided, and learnt from, one after the other."""

    def __init__(self, trained: Path, labels: dict[str, str], table: Path) -> None:
        self._model = Model(trained / "model.onnx")
        seen = Seen.read(trained / SEEN, fingerprints.body(self._model.path))
        assert seen is not None, "training leaves it"
        self._old, self._temperature = last_layer.read(self._model.path), self._model.card.temperature
        classes = self._model.classes
        self._train, self._val = seen.part("train", classes), seen.part("val", classes).known()
        self._test = _looked(self._model, table, "test")
        queue = Queue(Database(str(trained / "review.sqlite")), strategy="random")
        for item in queue.claim("benchmark", 100_000):
            queue.decide(item.id, "benchmark", CATEGORY, labels[item.image])
        found = findings.corrections(queue.database)
        truth = np.array([classes.index(one.label) for one in found], np.int64)
        self._new = Part(np.array([one.embedding for one in found], np.float32), truth, [one.sha256 for one in found])

    def curve(self, strategy: str, seed: int, reviewed: int, batch: int) -> Right:
        """Which of the other photos are right after each batch, ``[steps, N]``."""
        random = np.random.default_rng(seed)
        left, chosen = list(range(len(self._new.truth))), list[int]()
        layer, right = self._old, [self._right(self._old)]
        while len(chosen) < min(reviewed, len(self._new.truth)):
            logits = layer(self._new.embeddings[left]) / self._temperature
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            odds /= odds.sum(axis=1, keepdims=True)
            best = np.argsort(-odds, axis=1)[:, :2]
            waiting = [
                Waiting(
                    place,
                    (str(best[row, 0]), str(best[row, 1])),
                    float(odds[row, best[row, 0]] - odds[row, best[row, 1]]),
                    self._new.embeddings[place].astype(np.float16),
                )
                for row, place in enumerate(left)
            ]
            chosen += ranked(strategy, waiting, batch, [], random)
            left = [place for place in left if place not in set(chosen)]
            part = Part(self._new.embeddings[chosen], self._new.truth[chosen], [self._new.groups[i] for i in chosen])
            relearning = Relearning(
                self._old, self._temperature, self._train, part, self._val, len(self._model.classes)
            )
            layer = relearning.layer(relearning.settings(seed)[0])
            right.append(self._right(layer))
            if not left:
                break
        return np.array(right, np.float64)

    def _right(self, layer: Linear) -> npt.NDArray[np.bool_]:
        return np.asarray(layer(self._test.embeddings).argmax(axis=1) == self._test.truth)


def _looked(model: Model, table: Path, part: str) -> Part:
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == part]
    index = {label: number for number, label in enumerate(model.classes)}
    found = model.stream_of([row["image"] for row in rows], lambda images: model.outputs(images, ["embedding"])[0])
    seen = np.array([embedding for _, embedding in found], np.float32)
    return Part(seen, np.array([index.get(row["label"], -1) for row in rows], np.int64), [row["image"] for row in rows])


def main() -> None:
    """Print what learning gains, and the curves of the review."""
    from kramar.evaluation import paired

    tiny = "--tiny" in sys.argv
    corrections, reviewed, batch, seeds = (20, 40, 20, 1) if tiny else (CORRECTIONS, REVIEWED, BATCH, SEEDS)
    folder = scratch("learn")
    table, new, labels = tables(folder, 3 if tiny else None)
    trained = folder / "run"
    run("train", str(table), "--rungs", "head", "--skip-audit", "--out", str(trained), cache=cache_folder())
    list(kramar.classify(trained / "model.onnx", new, queue=True))
    waiting = findings.counts(Database(str(trained / "review.sqlite"))).waiting
    print(f"      {len(labels):,} photos come in; {waiting:,} of them are not auto")
    learnt(trained, labels, table, folder, corrections)
    review = Review(trained, labels, table)
    curves = {}
    for strategy in STRATEGIES:
        each = [review.curve(strategy, seed, reviewed, batch) for seed in range(seeds)]
        curves[strategy] = np.array(each)
        shares = curves[strategy].mean(axis=(0, 2))
        print(f"      {strategy:<10} accuracy after each {batch}: " + " ".join(f"{100 * one:.1f}" for one in shares))
    # A photo counts by how often it is right along the curve, the start left out, which all share.
    along = {strategy: found[:, 1:].mean(axis=1) for strategy, found in curves.items()}
    for strategy in ("diverse", "uncertain"):
        ours, theirs = along[strategy], along["random"]
        gap = paired.difference(ours, theirs, None, 0)
        p = paired.permutation(ours, theirs, None, 0)
        bar(f"{strategy} against random order, mean along the curve",
            f"{100 * gap.value:+.2f} ({100 * gap.low:+.2f} to {100 * gap.high:+.2f}), p = {p:.2g}",
            "better", gap.value > 0 and p <= paired.LEVEL)  # fmt: skip


if __name__ == "__main__":
    main()
