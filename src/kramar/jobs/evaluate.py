"""``kramar evaluate``: the same metrics for any model file on any labelled data."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from kramar.config import parse_seed
from kramar.decisions.calibration import error_without
from kramar.errors import InputError
from kramar.evaluation import breakdown, paired
from kramar.evaluation.decided import decided
from kramar.evaluation.levels import levels
from kramar.evaluation.metrics import calibration_bins, score
from kramar.evaluation.products import products
from kramar.jobs.labelled import Labelled, labelled
from kramar.progress import Progress, Silent
from kramar.records import (
    CalibrationBin,
    ClassScore,
    Confusion,
    DecisionScores,
    Estimate,
    LeftOut,
    Metrics,
    Mistake,
    ProductScores,
    Record,
    TreeScores,
)
from kramar.runtime.model import Model


class Evaluation(Record):
    """A model's scores on labelled photos.

    Attributes:
        split: the part that was scored, or ``all``.
        decisions: how the decisions of the model file did; None where it carries none.
        uncalibrated_error: what the calibration error would be without the model's temperature.
        tree: scores at each level of the model's category tree; None where its classes stand side by side.
        products: scores of one answer a product; None where none of the products has several photos.
        warnings: what the user should know, such as labels that the model does not have.
    """

    model: str
    data: str
    split: str
    photos: int
    metrics: Metrics
    decisions: DecisionScores | None = None
    tree: TreeScores | None = None
    products: ProductScores | None = None
    classes: list[ClassScore]
    confusions: list[Confusion]
    mistakes: list[Mistake]
    calibration: list[CalibrationBin]
    uncalibrated_error: Estimate
    left_out: dict[str, int]
    left_out_files: list[LeftOut]
    warnings: list[str]


class Difference(Record):
    """Two models on the same photos.

    Attributes:
        first, second: their files.
        difference: accuracy of the first minus that of the second, with the pair's own 95% interval.
        p, adjusted: of the exact paired test that they are equally accurate; corrected for all pairs (Holm).
        verdict: what that shows of the first: ``better``, ``worse`` or ``no difference shown``.
        needed: about how many photos would show a difference like this one, where none is shown.
        coverage: the share of photos that need no person by the first's decisions, minus the second's; None where
            one of the files has no decisions.
    """

    first: str
    second: str
    difference: Estimate
    p: float
    adjusted: float
    verdict: str
    needed: int | None
    coverage: Estimate | None

    def words(self) -> str:
        """Whether the difference is real."""
        gap = self.difference
        points = f"{100 * gap.value:+.1f} points (95% interval {100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
        if self.verdict == "no difference shown":
            more = f"; about {self.needed:,} photos would show one like this" if self.needed else ""
            return f"{self.first} against {self.second}: {points}, no difference shown on {gap.n:,} photos{more}"
        return f"{self.first} is {self.verdict} than {self.second}: {points}, p {self.adjusted:.2g}"


class Evaluations(Record):
    """Several models' scores on the same labelled photos, and every pair of them compared."""

    models: list[Evaluation]
    comparisons: list[Difference]


ModelFile = str | os.PathLike[str] | Model


@overload
def evaluate(  # type: ignore[overload-overlap]  # a string is a sequence of strings too, but here it is one path
    model: ModelFile,
    data: str | os.PathLike[str],
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    seed: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Evaluation: ...
@overload
def evaluate(
    model: Sequence[ModelFile],
    data: str | os.PathLike[str],
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    seed: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Evaluations: ...
def evaluate(
    model: ModelFile | Sequence[ModelFile],
    data: str | os.PathLike[str],
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    seed: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Evaluation | Evaluations:
    """Score ``model`` on the labelled photos in ``data``, or several models on the same photos.

    Photos whose label a model does not have count as mistakes.

    Args:
        model: a model file, or an open one; or several, each pair of which is then compared.
        data: labelled photos: a folder or a table.
        split: ``train``, ``val``, ``test`` or ``all``; by default the test part where the data has a split of its
            own, or is what a model was trained on, and else all of it.
        columns: the table's column names by kramar's.
        seed: of the intervals' bootstrap; by default the (first) model's own, which gives its run's intervals again.
        strict: fail where any photo, row or file has to be left out.
        progress: who listens; nobody by default.

    Raises:
        InputError: the data or a model file cannot be used, or one of several models learnt from the photos.
    """
    listener, source = progress or Silent(), Path(data)
    given = [model] if isinstance(model, str | os.PathLike | Model) else list(model)
    opened = [one if isinstance(one, Model) else Model(one) for one in given]
    if not opened:
        raise InputError("expected at least one model file, found none")
    seed = opened[0].card.seed if seed is None else parse_seed(seed)
    found = labelled(opened, source, listener, split=split, default="test", columns=columns, strict=strict)
    evaluations = [_evaluation(one, part, source, seed) for one, part in zip(opened, found, strict=True)]
    if isinstance(model, str | os.PathLike | Model):
        return evaluations[0]
    return Evaluations(models=evaluations, comparisons=_comparisons(opened, found, seed))


def _evaluation(opened: Model, found: Labelled, source: Path, seed: int) -> Evaluation:
    scored, read = found.scored, found.entries
    counts = {label: {found.part: n} for label, n in sorted(Counter(scored.labels).items())}
    categories = {entry.label: entry.category for entry in read}
    return Evaluation(
        model=str(opened.path),
        data=str(source),
        split=found.part,
        photos=len(read),
        metrics=score(scored, seed),
        decisions=decided(scored, opened.rule) if opened.rule else None,
        # Of the classes that it knows, the model's own tree.
        tree=levels(scored, categories | {one.label: one.category for one in opened.card.classes}),
        products=products(scored, [entry.product for entry in read], seed),
        classes=breakdown.by_class(scored, counts, categories),
        confusions=breakdown.confusions(scored),
        mistakes=breakdown.mistakes(scored, [entry.image for entry in read]),
        calibration=calibration_bins(scored),
        uncalibrated_error=error_without(scored, opened.card.temperature, seed),
        left_out=dict(Counter(item.kind for item in found.left_out)),
        left_out_files=found.left_out,
        warnings=found.warnings,
    )


def _needed(right: Sequence[npt.NDArray[np.bool_]], groups: Sequence[str], pairs: int) -> int | None:
    """About how many photos would show a difference like this, one of so many; None where that cannot be told."""
    if len(set(groups)) < len(groups):
        # Photos of a group are alike: how much so decides.
        return None
    needed = paired.photos_needed(*right, level=paired.LEVEL / pairs)
    return needed if needed is not None and needed > len(groups) else None


def _comparisons(opened: Sequence[Model], found: Sequence[Labelled], seed: int) -> list[Difference]:
    """Every pair, in the order in which the models were given."""
    groups = found[0].scored.groups
    # By their place: a file may be given twice.
    compared = paired.compare_all({str(place): one.scored.right for place, one in enumerate(found)}, groups, seed)
    differences = []
    for one in compared:
        a, b = int(one.first), int(one.second)
        rules = [opened[place].rule for place in (a, b)]
        answers = [found[place].scored for place in (a, b)]
        auto = [
            rule.verdicts(one.probabilities, one.unknown).auto for one, rule in zip(answers, rules, strict=True) if rule
        ]
        shown = one.verdict != "no difference shown"
        differences.append(
            Difference(
                first=str(opened[a].path),
                second=str(opened[b].path),
                difference=one.difference,
                p=one.p,
                adjusted=one.adjusted,
                verdict=one.verdict,
                needed=None if shown else _needed([one.right for one in answers], groups, len(compared)),
                coverage=paired.difference(auto[0], auto[1], groups, seed) if len(auto) == 2 else None,
            )
        )
    return differences
