"""``kramar evaluate``: the same metrics for any model file on any labelled data."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from kramar.config import parse_seed
from kramar.evaluation import breakdown
from kramar.evaluation.decided import decided
from kramar.evaluation.metrics import calibration_bins, score
from kramar.jobs.labelled import labelled
from kramar.progress import Progress, Silent
from kramar.records import (
    CalibrationBin,
    ClassScore,
    Confusion,
    DecisionScores,
    LeftOut,
    Metrics,
    Mistake,
    Record,
)
from kramar.runtime.model import Model


class Evaluation(Record):
    """A model's scores on labelled photos.

    Attributes:
        split: the part that was scored, or ``all``.
        decisions: how the decisions of the model file did; None where it carries none.
        warnings: what the user should know, such as labels that the model does not have.
    """

    model: str
    data: str
    split: str
    photos: int
    metrics: Metrics
    decisions: DecisionScores | None = None
    classes: list[ClassScore]
    confusions: list[Confusion]
    mistakes: list[Mistake]
    calibration: list[CalibrationBin]
    left_out: dict[str, int]
    left_out_files: list[LeftOut]
    warnings: list[str]


def evaluate(
    model: str | os.PathLike[str] | Model,
    data: str | os.PathLike[str],
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    seed: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score ``model`` on the labelled photos in ``data``.

    Photos whose label the model does not have count as mistakes.

    Args:
        model: a model file, or an open one.
        data: labelled photos: a folder or a table.
        split: ``train``, ``val``, ``test`` or ``all``; by default the test part where the data has a split of its
            own, or is what the model was trained on, and else all of it.
        columns: the table's column names by kramar's.
        seed: of the intervals' bootstrap; by default the model's own, which gives its run's intervals again.
        strict: fail where any photo, row or file has to be left out.
        progress: who listens; nobody by default.

    Raises:
        InputError: the data or the model file cannot be used.
    """
    listener = progress or Silent()
    opened = model if isinstance(model, Model) else Model(model)
    seed = opened.card.seed if seed is None else parse_seed(seed)
    source = Path(data)
    found = labelled(opened, source, listener, split=split, default="test", columns=columns, strict=strict)
    scored, part, read = found.scored, found.part, found.entries
    counts = {label: {part: n} for label, n in sorted(Counter(scored.labels).items())}
    return Evaluation(
        model=str(opened.path),
        data=str(source),
        split=part,
        photos=len(read),
        metrics=score(scored, seed),
        decisions=decided(scored, opened.rule) if opened.rule else None,
        classes=breakdown.by_class(scored, counts, {entry.label: entry.category for entry in read}),
        confusions=breakdown.confusions(scored),
        mistakes=breakdown.mistakes(scored, [entry.image for entry in read]),
        calibration=calibration_bins(scored),
        left_out=dict(Counter(item.kind for item in found.left_out)),
        left_out_files=found.left_out,
        warnings=found.warnings,
    )
