"""What a teacher says of views of photos: asked once a view, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from kramar.config import cache_folder
from kramar.data.manifest import Entry
from kramar.data.pixels import Pixels, in_order
from kramar.files import sha256
from kramar.models import squares
from kramar.models.squares import roomy
from kramar.models.store import RowStore
from kramar.progress import Progress
from kramar.runtime.model import Model
from kramar.runtime.session import Scores
from kramar.training.augment import POLICIES, draw
from kramar.training.climb import EndedError

_TOGETHER = 8
_COMMIT_EVERY = 64


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

    def rate(self) -> float:
        """Photos a second that it is expected to answer for, of ready ones, in batches."""
        return 1.0 / sum(model.milliseconds() / 1000 for model in self._models)

    def _said(
        self, place: int, entries: Sequence[Entry], number: int, progress: Progress, stopped: Callable[[], bool]
    ) -> Scores:
        model, rule = self._models[place], self._models[place].card.resize
        name = f"{self._digests[place]}-{self._policy}-{self._strength:g}"
        store = RowStore(
            cache_folder() / "taught" / name / f"view{number}", "logits.f32", (len(model.classes),), np.float32
        )
        pending = list({entry.hash: entry for entry in entries if entry.hash not in store}.values())
        if pending:
            shown = roomy(rule) if number else rule
            squares.keep(pending, shown, progress)
            self._ask(model, store, pending, number, progress, stopped)
        return np.asarray(store.gather([entry.hash for entry in entries]))

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


def _commit(store: RowStore[np.float32], waiting: list[tuple[list[str], Scores]]) -> None:
    if waiting:
        store.append([key for hashes, _ in waiting for key in hashes], np.concatenate([rows for _, rows in waiting]))
        waiting.clear()
