"""``kramar decide``: calibrated anew, and from which probability on answers need no person, without training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kramar.config import DEFAULT_PRECISION, parse_seed, parse_share
from kramar.data.split import aside
from kramar.decisions import fitting
from kramar.decisions.calibration import stretched
from kramar.decisions.fitting import Asked
from kramar.errors import DataError
from kramar.evaluation.decided import decided
from kramar.exporting import onnx_file
from kramar.jobs.labelled import labelled
from kramar.progress import Progress, Silent
from kramar.records import DecisionScores, LeftOut, Record
from kramar.runtime.model import Model
from kramar.runtime.rule import Rule


class Decision(Record):
    """Decisions that were fitted anew.

    Attributes:
        model: the file that carries them now.
        split: the part of the data that they were fitted on, or ``all``.
        temperature: what the file's logits are divided by now.
        decisions: what they do on those photos themselves, which flatters them a little.
    """

    model: str
    data: str
    split: str
    photos: int
    temperature: float
    decisions: DecisionScores
    left_out_files: list[LeftOut]
    warnings: list[str]


def decide(
    model: str | os.PathLike[str] | Model,
    data: str | os.PathLike[str],
    *,
    precision: str | float = DEFAULT_PRECISION,
    class_precision: bool = False,
    class_sets: bool = False,
    out: str | os.PathLike[str] | None = None,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    seed: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Decision:
    """Fit the decisions of ``model`` on the labelled photos in ``data``, and write them into its file.

    Photos that it has not seen fit its temperature too, where they are 400 or more.

    Args:
        model: a model file, or an open one.
        data: labelled photos: a folder or a table.
        precision: the share of answers without a person that is promised to be right.
        class_precision: promise the precision of the answers of each class alone: of a class whose photos do not show
            it, none is given without a person.
        class_sets: promise the coverage of sets for each class alone, where it has photos enough.
        out: another file for it; by default the model's own, in one step.
        split: ``train``, ``val``, ``test`` or ``all``; by default the validation part where the data has a split of its
            own, or is what the model was trained on, and else all of it.
        columns: the table's column names by kramar's.
        seed: draws which photo of a group tests; by default the model's own.
        strict: fail where any photo, row or file has to be left out.
        progress: who listens; nobody by default.

    Raises:
        InputError: the data or the model file cannot be used, or the model learnt from these photos.
        OutputError: the file cannot be written.
    """
    listener = progress or Silent()
    share = parse_share(precision, "--precision")
    opened = model if isinstance(model, Model) else Model(model)
    card = opened.card
    seed = card.seed if seed is None else parse_seed(seed)
    source, target = Path(data), Path(out) if out is not None else opened.path
    (found,) = labelled(
        [opened], source, listener, split=split, default="val", columns=columns, strict=strict, twins=True
    )
    if found.learnt_from and found.part in ("train", "all"):
        raise DataError(
            f"{source}: the model learnt from these photos, so it is too sure of them; "
            "give photos that it has not seen, or --split val or test"
        )
    if found.mixed:
        raise DataError(
            f"{source}: the model learnt from some of these photos, or they chose it, and which ones is not known: "
            "they are not the data that it was trained on, as that was then; give photos that it has not seen"
        )
    paths = [one.category for one in card.classes]
    fit, scored, factor = fitting.promised, found.scored, 1.0
    if found.learnt_from and found.part == "val" and card.aside:
        kept = np.flatnonzero(aside(found.entries, card.seed, found.cut))
        listener.say(f"Decided by the {len(kept):,} of them that were kept aside in training")
        scored = scored.some(kept)
    elif found.learnt_from and found.part == "val":
        listener.say("These photos chose the model: what it promises by them is estimated, not guaranteed")
        fit = fitting.estimated
    else:
        apart = np.flatnonzero([not found.learnt_from or entry.group not in found.cut for entry in found.entries])
        if len(apart) < len(scored.truth):
            listener.say(f"Decided by the {len(apart):,} of them of which no copy or product was learnt from")
        if not len(apart):
            raise DataError(
                f"{source}: of each of its {len(scored.truth):,} {found.part} photos the model learnt from a copy, or "
                "another photo of its product; they show nothing: give photos of things that it has not seen"
            )
        scored = scored.some(apart)
        factor = fitting.stretch(scored, seed)
        scored = stretched(scored, factor)
    decisions = fit(scored, paths, Asked(share, by_class=class_precision, class_sets=class_sets), seed)
    shown = decided(scored, Rule(decisions, card.classes))
    card = card.model_copy(update={"decisions": decisions, "temperature": card.temperature * factor})
    if factor != 1:
        # They were measured with the temperature before.
        card = card.model_copy(update={"metrics": {}})
    onnx_file.describe(opened.path, card, target)
    return Decision(
        model=str(target),
        data=str(source),
        split=found.part,
        photos=len(scored.truth),
        temperature=card.temperature,
        decisions=shown,
        left_out_files=found.left_out,
        warnings=found.warnings,
    )
