"""What a teacher says of views of photos: asked once a view, and kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from kramar.config import cache_folder
from kramar.data.manifest import Entry
from kramar.data.pixels import Pixels, in_order
from kramar.data.store import RowStore
from kramar.files import sha256
from kramar.models import squares
from kramar.models.squares import roomy
from kramar.progress import Progress
from kramar.runtime.model import Model
from kramar.runtime.session import Scores
from kramar.training.augment import DRAWING, POLICIES, draw
from kramar.training.climb import EndedError

_TOGETHER = 8
_COMMIT_EVERY = 64


class Asking(NamedTuple):
    """What it takes to ask a teacher: photos a second, but nothing for the first ``told`` views, which it answered."""

    rate: float
    told: int = 0

    def seconds(self, view: int) -> float:
        """A photo."""
        return 0.0 if view < self.told else 1 / self.rate


class Teacher:
    """One model file, or several whose calibrated answers are averaged (an ensemble)."""

    def __init__(self, files: Sequence[Path], policy: str, strength: float) -> None:
        """Raises ModelFileError."""
        self._models = [Model(path) for path in files]
        self._digests = [sha256(path)[:12] for path in files]
        self._policy, self._strength = policy, strength

    @property
    def classes(self) -> list[str]:
        """Labels in the order of its answers."""
        return self._models[0].classes

    def logits(
        self,
        entries: Sequence[Entry],
        number: int,
        progress: Progress,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Scores:
        """Logits ``[N, C]`` of a view of photos that can be read; view 0 is the photo as evaluation sees it.

        Of one model, they are divided by its temperature; of several, the logarithms of their mean probabilities.
        Raises OutputError, and EndedError once ``stopped``.
        """
        said = [self._said(place, entries, number, progress, stopped) for place in range(len(self._models))]
        if len(said) == 1:
            return np.asarray(said[0] / self._models[0].card.temperature)
        calibrated = [torch.from_numpy(one) / m.card.temperature for one, m in zip(said, self._models, strict=True)]
        mean = torch.stack([one.softmax(dim=1) for one in calibrated]).mean(dim=0)
        return np.asarray(mean.clamp_min(1e-12).log().numpy())

    def asking(self, entries: Sequence[Entry]) -> Asking:
        """What it takes to ask it about views of ``entries``, in batches of ready photos."""
        return Asking(1.0 / sum(model.milliseconds() / 1000 for model in self._models), self._told(entries))

    def _told(self, entries: Sequence[Entry]) -> int:
        """So many views, from 0 on, are answered already for all of ``entries``."""
        stores = (self._store(place, number) for number in itertools.count() for place in range(len(self._models)))
        answered = itertools.takewhile(lambda store: all(entry.hash in store for entry in entries), stores)
        return sum(1 for _ in answered) // len(self._models)

    def _said(
        self, place: int, entries: Sequence[Entry], number: int, progress: Progress, stopped: Callable[[], bool]
    ) -> Scores:
        model, rule = self._models[place], self._models[place].card.resize
        store = self._store(place, number)
        pending = list({entry.hash: entry for entry in entries if entry.hash not in store}.values())
        if pending:
            shown = roomy(rule) if number else rule
            squares.cache(pending, shown, progress)
            self._ask(model, store, pending, number, progress, stopped)
        return np.asarray(store.gather([entry.hash for entry in entries]))

    def _store(self, place: int, number: int) -> RowStore[np.float32]:
        return _answers(self._digests[place], self._policy, self._strength, number, len(self.classes))

    def _ask(
        self,
        model: Model,
        store: RowStore[np.float32],
        pending: Sequence[Entry],
        number: int,
        progress: Progress,
        stopped: Callable[[], bool],
    ) -> None:
        rule = model.card.resize
        photos = squares.squares(pending, roomy(rule) if number else rule)
        policy = POLICIES[self._policy if number else "none"](rule, self._strength)

        def batches() -> Iterator[tuple[list[str], Pixels]]:
            for first in range(0, len(pending), _TOGETHER):
                hashes = [entry.hash for entry in pending[first : first + _TOGETHER]]
                yield hashes, np.stack([draw(policy, photos[first + i], key, number) for i, key in enumerate(hashes)])

        def said(batch: tuple[list[str], Pixels]) -> tuple[list[str], Scores]:
            return batch[0], model.logits(batch[1])

        threads = torch.get_num_threads()
        # Drawing is one thread's work beside the model's own.
        torch.set_num_threads(1)
        try:
            with progress.stage("Asking the teacher", len(pending)) as advance:
                waiting: list[tuple[list[str], Scores]] = []
                for one in in_order(said, batches(), threads=1, ahead=3):
                    waiting.append(one)
                    advance(len(one[0]))
                    if len(waiting) * _TOGETHER >= _COMMIT_EVERY:
                        _commit(store, waiting)
                    if stopped():
                        raise EndedError
                _commit(store, waiting)
        finally:
            torch.set_num_threads(threads)


def _answers(digest: str, policy: str, strength: float, number: int, classes: int) -> RowStore[np.float32]:
    folder = cache_folder() / "taught" / f"{digest}-{policy}-{strength:g}-{DRAWING}" / f"view{number}"
    return RowStore(folder, "logits.f32", (classes,), np.float32)


def _commit(store: RowStore[np.float32], waiting: list[tuple[list[str], Scores]]) -> None:
    if waiting:
        store.append([key for hashes, _ in waiting for key in hashes], np.concatenate([rows for _, rows in waiting]))
        waiting.clear()
