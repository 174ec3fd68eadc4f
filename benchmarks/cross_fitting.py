"""Whether a temperature may be fitted across folds of training photos: ``python -m benchmarks.cross_fitting``.

Where validation photos are few, scores from outside each fold of training and validation photos are more. On Grocery's
photos for development (benchmarks/development.py), the temperature of a linear layer on frozen features is fitted on
its 296 validation photos; on out-of-fold scores with each photo in a group of its own, as a table without products has
them; and with photos grouped that are alike, at three distances. Validation photos and stand-ins for test photos, which
chose none of the latter, judge.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.development import alike, development
from benchmarks.harness import embeddings, scratch
from kramar.data.listing import PhotoFile, Row
from kramar.decisions.calibration import fit_temperature, probabilities
from kramar.evaluation.metrics import Scored, score
from kramar.progress import Silent
from kramar.training.head import Part, fit_head, out_of_fold

DISTANCES = (0.15, 0.3, 0.5)


def main() -> None:
    """The temperatures, and the calibration error that each gives."""
    with development(scratch("cross-fitting")).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    entries, found = embeddings(
        [Row(row["image"], PhotoFile(Path(row["image"])), row["label"], row["category"]) for row in rows]
    )
    place = {entry.image: number for number, entry in enumerate(entries)}
    seen = found[[place[row["image"]] for row in rows]]
    labels = sorted({row["label"] for row in rows})
    truth = np.array([labels.index(row["label"]) for row in rows], np.int64)
    names = [row["image"] for row in rows]

    def part(*splits: str, groups: list[str] | None = None) -> Part:
        places = [number for number, row in enumerate(rows) if row["split"] in splits]
        return Part(seen[places], truth[places], [(groups or names)[number] for number in places])

    head, how = fit_head(part("train"), part("val"), len(labels), 0, Silent())
    judges = {"validation": part("val"), "stand-ins for test": part("test")}
    logits = {name: head(one.embeddings) for name, one in judges.items()}

    def tell(title: str, temperature: float, right: str = "") -> None:
        errors = "; ".join(
            f"{name} {score(_scored(logits[name], one, temperature, labels), 0).calibration_error.percent()}"
            for name, one in judges.items()
        )
        print(f"      {title}: T {temperature:.3f}{right}; calibration error: {errors}")

    for name, one in judges.items():
        tell(
            f"fitted on {name} itself",
            fit_temperature(logits[name], one.truth),
            f", {_right(logits[name], one):.1%} right",
        )
    learnt = [row["split"] != "test" for row in rows]
    for title, groups in {
        "out of fold, each photo by itself": names,
        **{f"out of fold, grouped at {one:g}": alike(seen, truth, np.array(learnt), one) for one in DISTANCES},
    }.items():
        both = part("train", "val", groups=groups)
        scores, held_out = out_of_fold(both, len(labels), 0, Silent(), how.regularisation)
        told = Part(both.embeddings[held_out], both.truth[held_out], [])
        tell(title, fit_temperature(scores, told.truth), f", {_right(scores, told):.1%} right")


def _scored(logits: npt.NDArray[np.floating], part: Part, temperature: float, labels: list[str]) -> Scored:
    return Scored.of(probabilities(logits, temperature), [labels[one] for one in part.truth], labels, part.groups)


def _right(logits: npt.NDArray[np.floating], part: Part) -> float:
    return float((logits.argmax(axis=1) == part.truth).mean())


if __name__ == "__main__":
    main()
