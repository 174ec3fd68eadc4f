"""The photos of a run: readable, split, with class numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kramar.data.manifest import Entry
from kramar.data.split import PARTS
from kramar.decisions.calibration import fit_temperature, probabilities
from kramar.evaluation.metrics import Scored
from kramar.models import squares
from kramar.progress import Progress
from kramar.records import LeftOut, ResizeRule
from kramar.runtime.session import Scores

ASIDE = "aside"


@dataclass(frozen=True, slots=True)
class Material:
    """The photos of a run.

    Attributes:
        parts: entries by part; validation photos that choose nothing are a part of their own, ``aside``.
        classes: labels of the training photos, sorted.
    """

    parts: dict[str, list[Entry]]
    classes: list[str]

    @staticmethod
    def of(entries: Sequence[Entry], classes: Sequence[str], aside: Sequence[bool] = ()) -> Material:
        """The material in ``entries``, all of which can be read; ``aside`` are some of the validation photos."""
        parts = {part: [e for e in entries if e.split == part] for part in PARTS}
        kept = list(aside) or [False] * len(parts["val"])
        parts[ASIDE] = [entry for entry, away in zip(parts["val"], kept, strict=True) if away]
        parts["val"] = [entry for entry, away in zip(parts["val"], kept, strict=True) if not away]
        return Material(parts, list(classes))

    def truth(self, part: str) -> list[int]:
        """Class numbers of a part's photos; -1 for a label that training does not have."""
        return self.numbers(self.parts[part])

    def numbers(self, entries: Sequence[Entry]) -> list[int]:
        """Class numbers of photos; -1 for a label that training does not have."""
        index = {label: number for number, label in enumerate(self.classes)}
        return [index.get(entry.label, -1) for entry in entries]

    def temperature(self, logits: Scores) -> float:
        """The temperature that suits validation logits ``[N, C]``; 1 without validation photos."""
        truth = np.array(self.truth("val"), np.int64)
        return fit_temperature(logits[truth >= 0], truth[truth >= 0]) if len(truth) else 1.0

    def scored(self, logits: Scores, temperature: float, part: str) -> Scored:
        """The answers that logits ``[N, C]`` of a part's photos amount to."""
        entries = self.parts[part]
        return Scored.of(
            probabilities(logits, temperature),
            [entry.label for entry in entries],
            self.classes,
            [entry.group for entry in entries],
        )

    def known(self, part: str) -> list[Entry]:
        """A part's photos of classes that training has."""
        have = set(self.classes)
        return [entry for entry in self.parts[part] if entry.label in have]


def decode(
    entries: Sequence[Entry], rules: Sequence[ResizeRule], progress: Progress
) -> tuple[list[Entry], list[LeftOut]]:
    """Bring the squares of all ``rules`` into the cache; the photos that can be read, and those that cannot."""
    left_out: list[LeftOut] = []
    for rule in rules:
        entries, unreadable = squares.keep(entries, rule, progress)
        left_out += unreadable
    return list(entries), left_out
