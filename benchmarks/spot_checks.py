"""``python -m benchmarks.spot_checks [--tiny]``: the live alarm, where nothing changes and where one category does.

A model is trained on Grocery's training photos (without official test photos, benchmarks/development.py). Weeks are
drawn with replacement from photos that it did not see, on all of which together its promise is just kept: the hardest
unchanged week that there is. In a week, a share of the ``auto`` answers is checked. In a changed week one category's
photos are of something new, which the model takes for others as surely as it takes photos of those: all ``auto``
answers that the category's photos got are wrong.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.decisions import parts, table
from benchmarks.harness import bar, run, scratch
from kramar.config import cache_folder
from kramar.evaluation.metrics import Scored
from kramar.reviewing.alarm import LEVEL, rings
from kramar.runtime.model import Model

WEEKS, PHOTOS, SHARE = 100, 100_000, 0.01
TARGETS = (0.95, 0.98)
Bools = npt.NDArray[np.bool_]


def answers(folder: Path, *, tiny: bool) -> Scored:
    """What a model says of the photos that it did not see."""
    learnt, others = parts(development=True)
    if tiny:
        learnt, others = learnt[::8], others[::8]
    trained = folder / "run"
    data = table(learnt, folder / "train.csv")
    run("train", str(data), "--rungs", "head", "--skip-audit", "--out", str(trained), cache=cache_folder())
    model = Model(trained / "model.onnx")
    with table(others, folder / "others.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = model.stream_of([row["image"] for row in rows], model.answers)
    told = [answer for _, answer in found if not isinstance(answer, Exception)]
    return Scored.of(
        np.stack([answer.probabilities for answer in told]),
        [row["label"] for row in rows],
        model.classes,
        [row["image"] for row in rows],
        np.array([answer.unknown for answer in told]) if model.has("unknown_score") else None,
    )


def weeks(auto: Bools, wrong: Bools, share: float, photos: int, number: int, target: float, seed: int) -> list[bool]:
    """Whether the alarm is raised in each of so many weeks, of answers that are ``auto``, and ``wrong``, ``[N]``."""
    random = np.random.default_rng(seed)
    raised = []
    for _ in range(number):
        checks = random.binomial(photos, share * float(auto.mean()))
        drawn = random.choice(np.flatnonzero(auto), checks)
        raised.append(rings(wrong[drawn].tolist(), target) is not None)
    return raised


def main() -> None:
    """Print both rates for each target, by how many of the answers the category's are."""
    tiny = "--tiny" in sys.argv
    number, photos = (5, 20_000) if tiny else (WEEKS, PHOTOS)
    scored = answers(scratch("spot-checks"), tiny=tiny)
    for target in TARGETS:
        one(scored, target, number, photos)


def one(scored: Scored, target: float, number: int, photos: int) -> None:
    """One target: the threshold is the lowest that keeps the promise on all photos that weeks are drawn from."""
    order = np.argsort(-scored.confidence, kind="stable")
    precision = np.cumsum(scored.right[order]) / np.arange(1, len(order) + 1)
    kept = np.flatnonzero(precision >= target)
    if not len(kept):
        print(f"      {target:.0%}: no threshold keeps it")
        return
    auto = scored.confidence >= scored.confidence[order[kept[-1]]]
    wrong = ~scored.right
    print(f"      {target:.0%}: {auto.mean():.0%} of answers are auto, {1 - wrong[auto].mean():.2%} of them right")
    calm = weeks(auto, wrong, SHARE, photos, number, target, 0)
    bar(f"{target:.0%}: alarms in {number} unchanged weeks", f"{np.mean(calm):.0%}", f"at most {LEVEL:.0%}",
        bool(np.mean(calm) <= LEVEL))  # fmt: skip
    sizes = {label: float((auto & (scored.truth == n)).sum() / auto.sum()) for n, label in enumerate(scored.classes)}
    ranked = sorted(sizes, key=lambda label: -sizes[label])
    for what, label in (("largest", ranked[0]), ("median", ranked[len([s for s in sizes.values() if s > 0]) // 2])):
        changed = wrong | (scored.truth == scored.classes.index(label))
        rate = float(np.mean(weeks(auto, changed, SHARE, photos, number, target, 1)))
        now = 1 - changed[auto].mean()
        said = f"{target:.0%}: alarms, the {what} category ({sizes[label]:.1%}) changed: {now:.1%} right"
        bar(said, f"{rate:.0%}", "all of them", rate >= 0.95)


if __name__ == "__main__":
    main()
