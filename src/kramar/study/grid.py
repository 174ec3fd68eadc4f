"""A grid of trials: which of them the budget has room for, and what came of those."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kramar.evaluation import paired
from kramar.files import write_text
from kramar.study.records import ComparisonRecord, TrialRecord

COLUMNS = (
    "architecture",
    "regime",
    "transfer",
    "seed",
    "accuracy",
    "low",
    "high",
    "n",
    "parameters",
    "bytes",
    "milliseconds",
    "photos_per_second",
    "train_seconds",
)


def affordable(expected: Mapping[str, float], seconds_left: float) -> dict[str, float]:
    """The trials, in their order, that fit into ``seconds_left`` together; a long one that does not is passed over."""
    chosen: dict[str, float] = {}
    for key, seconds in expected.items():
        if sum(chosen.values()) + seconds <= seconds_left:
            chosen[key] = seconds
    return chosen


def tests(
    variants: Sequence[str], right: Sequence[npt.NDArray[np.bool_]], groups: Sequence[str], seed: int
) -> list[ComparisonRecord]:
    """Each pair of variants on the same test photos.

    ``right[i]``, bool ``[N]``, is of a trial of ``variants[i]``; a variant has one for each of its seeds.
    """
    by_variant: dict[str, list[npt.NDArray[np.bool_]]] = {}
    for name, answers in zip(variants, right, strict=True):
        by_variant.setdefault(name, []).append(answers)
    compared = paired.compare_all({name: np.stack(seeds) for name, seeds in by_variant.items()}, groups, seed)
    return [ComparisonRecord.model_validate(one, from_attributes=True) for one in compared]


def write_table(trials: Sequence[TrialRecord], path: Path) -> None:
    """``comparison.csv``, a row a trial; accuracy is on test."""
    rows = []
    for one in trials:
        accuracy = one.accuracy
        figures = (accuracy.value, accuracy.low, accuracy.high, accuracy.n) if accuracy else ("", "", "", 0)
        rows.append(
            (
                one.architecture,
                one.regime,
                one.transfer,
                one.seed,
                *figures,
                one.parameters,
                one.bytes,
                one.milliseconds,
                one.photos_per_second,
                one.train_seconds,
            )
        )
    write_csv(path, COLUMNS, rows)


def write_curves(trials: Sequence[TrialRecord], path: Path) -> None:
    """Every epoch of every trial."""
    names = ("architecture", "regime", "transfer", "seed", "epoch", "train_loss", "val_loss", "val_accuracy", "seconds")
    rows = [
        (
            one.architecture,
            one.regime,
            one.transfer,
            one.seed,
            epoch.number + 1,
            epoch.train_loss,
            epoch.val_loss,
            epoch.val_accuracy,
            epoch.seconds,
        )
        for one in trials
        for epoch in one.epochs
    ]
    write_csv(path, names, rows)


def write_tests(tests: Sequence[ComparisonRecord], path: Path) -> None:
    """Every pair of variants: the difference of their accuracies, and what it proves."""
    names = ("first", "second", "difference", "low", "high", "n", "p", "adjusted", "verdict")
    rows = [
        (
            one.first,
            one.second,
            one.difference.value,
            one.difference.low,
            one.difference.high,
            one.difference.n,
            one.p,
            one.adjusted,
            one.verdict,
        )
        for one in tests
    ]
    write_csv(path, names, rows)


def write_csv(path: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for other tools; None is an empty field."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows(["" if value is None else value for value in row] for row in rows)
    write_text(path, text.getvalue())


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which of the (cost, accuracy) points have no other that costs no more and is better: the Pareto front."""
    best, chosen = -1.0, []
    for place in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[place][1] > best:
            best = points[place][1]
            chosen.append(place)
    return chosen
