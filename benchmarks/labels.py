"""Wrong labels, planted and found: ``python -m benchmarks.labels``.

On Grocery's photos for development (benchmarks/development.py), 5% of the training labels are changed: uniformly, or to
the class that is most easily taken for the right one. How many of them are among the 7% that look most wrong? Then a
head learns from the labels as they are, as the cleaned table has them, and as they were before; stand-ins for test
photos and validation photos, whose labels are right, judge all three, paired.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from cleanlab.rank import get_label_quality_scores

from benchmarks.development import development
from benchmarks.harness import bar, embeddings, scratch
from kramar.auditing import cleaning, labels
from kramar.auditing.cleaning import REMOVED, Judged
from kramar.data.listing import PhotoFile, Row
from kramar.data.manifest import Entry
from kramar.decisions.calibration import calibrated
from kramar.evaluation.metrics import wilson
from kramar.evaluation.paired import difference, permutation
from kramar.progress import Silent
from kramar.runtime.session import Scores
from kramar.training.head import Part, fit_head, out_of_fold

FLIPPED, LOOKED_AT = 0.05, 0.07
SEEDS = 3
ASKED = {"uniformly": 0.8, "to the most confusable class": 0.5}

Indices = npt.NDArray[np.int64]


def said_by_others(part: Part, classes: int, seed: int) -> tuple[Scores, Indices]:
    """Calibrated scores of photos by models that have not learnt from them, and the photos' places."""
    logits, rows = out_of_fold(part, classes, seed, Silent())
    return calibrated(logits, part.truth[rows]), rows.astype(np.int64)


class Shop:
    """Photos, embeddings and labels of the parts."""

    def __init__(self) -> None:
        with development(scratch("labels")).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        photos = [Row(row["image"], PhotoFile(Path(row["image"])), row["label"], row["category"]) for row in rows]
        self.entries, seen = embeddings(photos)
        split = {row["image"]: row["split"] for row in rows}
        self.classes = sorted({entry.label for entry in self.entries if split[entry.image] == "train"})
        number = {label: place for place, label in enumerate(self.classes)}
        truth = np.array([number[entry.label] for entry in self.entries], np.int64)
        self.train = np.array([split[entry.image] == "train" for entry in self.entries])
        self.seen, self.truth = seen, truth

    def part(self, truth: Indices, some: npt.NDArray[np.bool_]) -> Part:
        places = np.flatnonzero(some)
        return Part(self.seen[places], truth[places], [self.entries[place].hash for place in places.tolist()])

    def confusable(self) -> Indices:
        """Of each class, the one that it is most easily taken for, by models that did not learn from the photo."""
        part = self.part(self.truth, self.train)
        scores, rows = said_by_others(part, len(self.classes), 0)
        truth = part.truth[rows]
        mean = np.stack([scores[truth == label].mean(axis=0) for label in range(len(self.classes))])
        np.fill_diagonal(mean, -1)
        return np.asarray(mean.argmax(axis=1), np.int64)


def main(arguments: Sequence[str] = ()) -> None:
    """Both ways to be wrong, three draws each."""
    del arguments
    shop = Shop()
    confusable = shop.confusable()
    for how, asked in ASKED.items():
        found: dict[str, list[float]] = {"kramar": [], "cleanlab's default": []}
        right: dict[str, list[npt.NDArray[np.bool_]]] = {"as they are": [], "cleaned": [], "as they were": []}
        for seed in range(SEEDS):
            generator = np.random.default_rng(seed)
            truth = shop.truth.copy()
            places = np.flatnonzero(shop.train)
            flipped = generator.choice(places, round(FLIPPED * len(places)), replace=False)
            other = (truth[flipped] + generator.integers(1, len(shop.classes), len(flipped))) % len(shop.classes)
            truth[flipped] = other if how == "uniformly" else confusable[truth[flipped]]
            scores, rows = said_by_others(shop.part(truth, shop.train), len(shop.classes), seed)
            rows = places[rows]
            most = round(LOOKED_AT * len(places))
            default = np.argsort(get_label_quality_scores(truth[rows], scores), kind="stable")
            for name, order in (
                ("kramar", np.argsort(labels.quality(scores, truth[rows]), kind="stable")),
                ("cleanlab's default", default),
            ):
                found[name].append(float(np.isin(flipped, rows[order[:most]]).mean()))
            kept, cleaned = clean(shop, truth, rows, scores)
            for name, labelled, some in (
                ("as they are", truth, shop.train),
                ("cleaned", cleaned, kept),
                ("as they were", shop.truth, shop.train),
            ):
                right[name].append(judged(shop, labelled, some, seed))
        shown = ", ".join(
            f"{name} {np.mean(some):.1%} ({min(some):.1%} to {max(some):.1%})" for name, some in found.items()
        )
        print(f"      {how}: of {len(flipped)} changed labels, {SEEDS} draws, among the first {LOOKED_AT:.0%}: {shown}")
        value = float(np.mean(found["kramar"]))
        bar(f"labels changed {how}, found", f"{value:.1%}", f">= {asked:.0%}", value >= asked)
        compared(how, right)


def clean(shop: Shop, truth: Indices, rows: Indices, scores: Scores) -> tuple[npt.NDArray[np.bool_], Indices]:
    """Which training photos a cleaned table keeps, and its labels."""
    entries = [named(shop.entries[row], shop.classes[truth[row]]) for row in rows.tolist()]
    issues = labels.label_issues(entries, shop.classes, scores, truth[rows])
    guesses = {
        entry.image: Judged(shop.classes[int(one.argmax())], float(one.max()))
        for entry, one in zip(entries, scores, strict=True)
    }
    place = {entry.image: row for entry, row in zip(entries, rows.tolist(), strict=True)}
    kept, cleaned = shop.train.copy(), truth.copy()
    changes = cleaning.changes(entries, [], issues, guesses, own_split=False)
    for change in changes:
        if change.change == REMOVED:
            kept[place[change.image]] = False
        else:
            cleaned[place[change.image]] = shop.classes.index(change.now)
    wrong = [truth[row] != shop.truth[row] for row in (place[change.image] for change in changes)]
    mended = [cleaned[place[one.image]] == shop.truth[place[one.image]] for one in changes if one.now]
    print(
        f"      {len(changes)} changes: {sum(wrong)} of labels that were wrong; {len(mended)} labelled anew, "
        f"{sum(mended)} of them rightly"
    )
    return kept, cleaned


def named(entry: Entry, label: str) -> Entry:
    return replace(entry, label=label)


def judged(shop: Shop, truth: Indices, some: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.bool_]:
    """Which of the other photos a head gets right that learns from ``some``; folds of those choose its strength."""
    none = shop.part(truth, np.zeros(len(truth), bool))
    head, _ = fit_head(shop.part(truth, some), none, len(shop.classes), seed, Silent())
    others = shop.part(shop.truth, ~shop.train)
    return np.asarray(head(others.embeddings).argmax(axis=1) == others.truth)


def compared(how: str, right: dict[str, list[npt.NDArray[np.bool_]]]) -> None:
    """What cleaning gains over the labels as they are, on all draws' photos."""
    for name, some in right.items():
        estimate = wilson(int(np.sum([one.sum() for one in some])), sum(len(one) for one in some))
        print(f"      {how}, labels {name}: {estimate.value:.1%} of {len(some[0])} other photos, {SEEDS} draws")
    dirty, cleaned = np.stack(right["as they are"]), np.stack(right["cleaned"])
    gain, p = difference(cleaned, dirty, None, 0), permutation(cleaned, dirty, None, 0)
    value = f"{100 * gain.value:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}), p {p:.3f}"
    bar(f"labels changed {how}, cleaned against dirty", value, "better", gain.value > 0 and p <= 0.05)


if __name__ == "__main__":
    main(sys.argv[1:])
