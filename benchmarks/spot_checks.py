"""``python -m benchmarks.spot_checks [--tiny]``: the live alarm, where nothing changes and where one category does.

A model is trained on Grocery's training photos (without official test photos, benchmarks/development.py). Weeks of
100,000 photos are drawn with replacement from photos that it did not see, on all of which together its promise is just
kept: the hardest unchanged week that there is. In a week, a share of the ``auto`` answers is checked. In a changed week
one category's photos are of something new, which the model takes for what it took that category's photos for, as
surely: all ``auto`` answers that they got are wrong. The week is the first one of the model file, or comes after four
unchanged ones.

Beside the alarm (half of the stake on all answers together, half on a rise in a category) are bets on all together, on
a rise in a category, and on each category as if the promise were made of it; all of them are tested at the same level.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.decisions import parts, table
from benchmarks.harness import bar, run, scratch
from kramar.config import cache_folder
from kramar.evaluation.metrics import Scored
from kramar.reviewing.alarm import LEVEL, rings, stakes, wealths
from kramar.runtime.model import Model

WEEKS, PHOTOS, SHARES, BEFORE = 100, 100_000, (0.01, 0.05), (0, 4)
TARGETS = (0.95, 0.98)
CATEGORIES = 80
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.integer]


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


@dataclass(frozen=True, slots=True)
class Rates:
    """How often something was raised, of simulated weeks: by each bet alone, and by the alarm."""

    together: float
    rise: float
    promise: float
    alarm: float


@dataclass(frozen=True, slots=True)
class Weeks:
    """What weeks are drawn from: answers ``[N]`` that are ``auto``, which are ``wrong``, and their ``labels``."""

    auto: Indices
    wrong: Bools
    labels: Indices
    truth: Indices
    categories: int
    target: float

    def rates(self, checks: float, before: int, changed: int | None, number: int) -> Rates:
        """Of so many weeks of so many ``checks``, after ``before`` others, in which the category ``changed``."""
        random, raised = np.random.default_rng(1), []
        for _ in range(number):
            calm = random.choice(self.auto, random.poisson(checks * before))
            week = random.choice(self.auto, random.poisson(checks))
            wrong = np.concatenate([self.wrong[calm], self.wrong[week] | (self.truth[week] == changed)]).tolist()
            labels = self.labels[np.concatenate([calm, week])].astype(str).tolist()
            raised.append(self._raised(labels, wrong))
        return Rates(*np.mean(raised, axis=0).tolist())

    def _raised(self, labels: list[str], wrong: list[bool]) -> tuple[bool, bool, bool, bool]:
        after = list(stakes(list(zip(labels, wrong, strict=True)), self.target, self.categories))
        own: dict[str, list[bool]] = {}
        has: dict[str, float] = {}
        promise, spread = False, 1.0
        for label, error in zip(labels, wrong, strict=True):
            own.setdefault(label, []).append(error)
        walks = {label: wealths(errors, self.target) for label, errors in own.items()}
        for label in labels:
            now = next(walks[label])
            spread += (now - has.get(label, 1.0)) / self.categories
            has[label] = now
            promise |= spread >= 1 / LEVEL
        return (
            any(one.together >= 1 / LEVEL for one in after),
            any(one.spread >= 1 / LEVEL for one in after),
            promise,
            any((one.together + one.spread) / 2 >= 1 / LEVEL for one in after),
        )


def main() -> None:
    """Print all rates for each target, share of checks, and what was before."""
    tiny = "--tiny" in sys.argv
    number = 3 if tiny else WEEKS
    scored = answers(scratch("spot-checks"), tiny=tiny)
    for target in TARGETS:
        one(scored, target, number)
    for right in (0.9, 0.96):
        for before in (0, 500):
            print(f"      98%, {right:.0%} right after {before} right ones: half of the alarms within "
                  f"{delay(right, before, number):.0f} checks")  # fmt: skip
    for before in (10, 30):
        print(f"      a category of {CATEGORIES}, after {before} right ones of it: {needed(before)} wrong ones")


def delay(right: float, before: int, number: int) -> float:
    """The median of how many checks it takes, at a target of 98%, in CATEGORIES that are alike."""
    found = []
    for seed in range(number):
        random = np.random.default_rng(seed)
        wrong = [*([False] * before), *(random.random(4000) >= right).tolist()]
        labels = random.integers(0, CATEGORIES, len(wrong)).astype(str).tolist()
        raised = rings(list(zip(labels, wrong, strict=True)), 0.98, CATEGORIES)
        found.append(np.inf if raised is None else raised.check - before)
    return float(np.median(found))


def needed(before: int) -> int:
    """How many checks of one category it takes that are all wrong, among others that never are."""
    others = [(str(label), False) for label in range(1, CATEGORIES)]
    checks = [*([("0", False), *others] * before), *([("0", True), *others] * 100)]
    raised = rings(checks, 0.8, CATEGORIES)
    assert raised is not None
    assert raised.category == "0"
    return (raised.check - 1) // CATEGORIES + 1 - before


def one(scored: Scored, target: float, number: int) -> None:
    """One target: the threshold is the lowest that keeps the promise on all photos that weeks are drawn from."""
    order = np.argsort(-scored.confidence, kind="stable")
    precision = np.cumsum(scored.right[order]) / np.arange(1, len(order) + 1)
    kept = np.flatnonzero(precision >= target)
    if not len(kept):
        print(f"      {target:.0%}: no threshold keeps it")
        return
    auto = np.flatnonzero(scored.confidence >= scored.confidence[order[kept[-1]]])
    weeks = Weeks(auto, ~scored.right, scored.predicted, scored.truth, len(scored.classes), target)
    part = len(auto) / len(order)
    print(f"      {target:.0%}: {part:.0%} of answers are auto, {scored.right[auto].mean():.2%} of them right")
    sizes = np.bincount(scored.truth[auto], minlength=len(scored.classes)) / len(auto)
    ranked = [int(place) for place in np.argsort(-sizes, kind="stable") if sizes[place] > 0]
    categories = {"smallest": ranked[-1], "median": ranked[len(ranked) // 2], "largest": ranked[0]}
    print("      checked, checks a week, weeks before, what changed: together, a rise, as promised of each; the alarm")
    for share in SHARES:
        for before in BEFORE:
            for what, place in {"nothing": None, **categories}.items():
                found = weeks.rates(PHOTOS * part * share, before, place, number)
                size = "" if place is None else f" ({sizes[place]:.1%})"
                said = (
                    f"{share:.0%}, {PHOTOS * part * share:.0f}, {before}, {what}{size}: "
                    f"{found.together:.0%}, {found.rise:.0%}, {found.promise:.0%}"
                )
                if place is None:
                    bar(said, f"{found.alarm:.0%}", f"at most {LEVEL:.0%}", found.alarm <= LEVEL)
                else:
                    bar(said, f"{found.alarm:.0%}", "all of them", found.alarm >= 0.95)


if __name__ == "__main__":
    main()
