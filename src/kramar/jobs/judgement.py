"""What models that have not learnt from a photo say of its label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kramar.auditing import labels
from kramar.auditing.cleaning import Judged
from kramar.auditing.issues import Issue
from kramar.data.manifest import Entry
from kramar.decisions.calibration import calibrated
from kramar.progress import Progress
from kramar.runtime.session import Scores
from kramar.training.head import Part, out_of_fold


@dataclass(frozen=True, slots=True)
class Judgement:
    """Issues, guesses by the photos' names, how many photos were judged, and how many labels fit."""

    issues: list[Issue]
    guesses: dict[str, Judged]
    photos: int
    right: int


def judge(
    entries: Sequence[Entry], seen: Scores, seed: int, listener: Progress, regularisation: float | None = None
) -> Judgement:
    """Labels that are probably wrong, and classes that are confused, by heads on ``seen``, embeddings ``[N, D]``.

    ``regularisation`` is the heads', where it is known (`out_of_fold`).
    """
    classes = sorted({entry.label for entry in entries})
    number = {label: place for place, label in enumerate(classes)}
    truth = np.array([number[entry.label] for entry in entries], np.int64)
    groups = [entry.group for entry in entries]
    logits, rows = (
        out_of_fold(Part(seen, truth, groups), len(classes), seed, listener, regularisation)
        if len(classes) > 1
        else (np.zeros((0, 1), np.float32), np.zeros(0, np.int64))
    )
    if not len(rows):
        return Judgement([], {}, 0, 0)
    some, truth = [entries[row] for row in rows.tolist()], truth[rows]
    probabilities = calibrated(logits, truth)
    top = probabilities.argmax(axis=1)
    guesses = {
        entry.image: Judged(classes[guess], float(scores[guess]))
        for entry, guess, scores in zip(some, top.tolist(), probabilities, strict=True)
    }
    found = [
        *labels.label_issues(some, classes, probabilities, truth),
        *labels.confused_issues(classes, probabilities, truth),
    ]
    return Judgement(found, guesses, len(rows), int((top == truth).sum()))
