"""Views of photos, as they are and changed at random, through a frozen backbone: maps at a cut, and embeddings.

What is drawn for a view depends on the photo and the view's number alone, so that all that look at a view, today or
in another run, see the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kramar.config import cache_folder
from kramar.data.manifest import Entry
from kramar.data.pixels import Pixels, in_order
from kramar.data.store import RowStore
from kramar.models import features, maps, squares
from kramar.models.backbones import Backbone
from kramar.models.engines import BATCH, ENGINES, Choice, Converted
from kramar.models.maps import Half
from kramar.models.squares import roomy
from kramar.progress import Progress
from kramar.runtime.session import Scores
from kramar.training.augment import DRAWING, POLICIES, draw
from kramar.training.climb import EndedError

_COMMIT_EVERY = 64


@dataclass(frozen=True, slots=True)
class Views:
    """The views of one backbone by one policy.

    Attributes:
        cut: the stage before which the maps are.
        shape: of the maps of one view of a photo: channels, height, width.
        policy, strength: of augmentation; view 0 is the photo as evaluation sees it.
    """

    backbone: Backbone
    converted: Converted
    choice: Choice
    cut: int
    shape: tuple[int, int, int]
    policy: str
    strength: float

    @property
    def name(self) -> str:
        """All that the maps depend on but the photo and the view's number."""
        return f"{self._name}-cut{self.cut}"

    @property
    def _name(self) -> str:
        looked = features.store_folder(self.backbone, self.converted, self.choice).name
        return f"{looked}-{self.policy}-{self.strength:g}-{DRAWING}"

    @property
    def bytes(self) -> int:
        """Of the maps of one view of one photo."""
        return maps.bytes_of(self.shape)

    def maps(self, entries: Sequence[Entry], view: int) -> tuple[Half, list[int]]:
        """All maps of a view ``[., h, w, c]``, memory-mapped, and where in them those of ``entries`` are."""
        store = self._maps(view)
        return store.mapped(), store.places([entry.hash for entry in entries])

    def embeddings(self, entries: Sequence[Entry], view: int) -> Scores:
        """Embeddings of a view, ``[N, D]``."""
        return self._embeddings(view).gather([entry.hash for entry in entries])

    def missing(self, entries: Sequence[Entry], view: int) -> list[Entry]:
        """One entry for each photo of which this view is not in the cache."""
        seen, embedded = self._maps(view), self._embeddings(view)
        first = {entry.hash: entry for entry in entries if entry.hash not in seen or entry.hash not in embedded}
        return list(first.values())

    def fill(
        self,
        entries: Sequence[Entry],
        numbers: Sequence[int],
        progress: Progress,
        stopped: Callable[[], bool] = lambda: False,
    ) -> float | None:
        """Bring views of all ``entries``, which can be read, into the cache; photos a second, None for nothing to do.

        Raises OutputError, and EndedError once ``stopped``; what was looked at until then is kept.
        """
        pending = {number: self.missing(entries, number) for number in numbers}
        total = sum(map(len, pending.values()))
        if not total:
            return None
        rule = self.backbone.resize
        for needed in {rule if number == 0 else roomy(rule) for number in numbers}:
            squares.cache(entries, needed, progress)
        engine = ENGINES[self.choice.engine](self.converted.path, self.backbone, self.cut)
        threads = torch.get_num_threads()
        # Drawing is one thread's work beside the model's own.
        torch.set_num_threads(1)
        try:
            began = time.perf_counter()
            with progress.stage("Looking at views", total) as advance:
                for number, some in pending.items():
                    seen, embedded = self._maps(number), self._embeddings(number)
                    waiting: list[tuple[list[str], Half, Scores]] = []

                    def look(batch: tuple[list[str], Pixels]) -> tuple[list[str], Half, Scores]:
                        found, embeddings = engine.look(batch[1])
                        return batch[0], found.transpose(0, 2, 3, 1).astype(np.float16), embeddings

                    for one in in_order(look, self._drawn(some, number), engine.streams, ahead=2 * engine.streams):
                        waiting.append(one)
                        if len(waiting) * BATCH >= _COMMIT_EVERY:
                            _commit(seen, embedded, waiting)
                        advance(len(one[0]))
                        if stopped():
                            raise EndedError
                    _commit(seen, embedded, waiting)
            return total / (time.perf_counter() - began)
        finally:
            torch.set_num_threads(threads)

    def _drawn(self, entries: Sequence[Entry], number: int) -> Iterator[tuple[list[str], Pixels]]:
        rule = self.backbone.resize
        photos = squares.squares(entries, roomy(rule) if number else rule)
        policy = POLICIES[self.policy if number else "none"](rule, self.strength)
        for start in range(0, len(entries), BATCH):
            hashes = [entry.hash for entry in entries[start : start + BATCH]]
            yield hashes, np.stack([draw(policy, photos[start + i], key, number) for i, key in enumerate(hashes)])

    def _maps(self, view: int) -> RowStore[np.float16]:
        return maps.store(self.name, view, self.shape)

    def _embeddings(self, view: int) -> RowStore[np.float32]:
        folder = cache_folder() / "views" / self._name / f"view{view}"
        return RowStore(folder, "embeddings.f32", (self.backbone.width,), np.float32)


def _commit(
    seen: RowStore[np.float16], embedded: RowStore[np.float32], waiting: list[tuple[list[str], Half, Scores]]
) -> None:
    if waiting:
        hashes = [key for some, _, _ in waiting for key in some]
        seen.append(hashes, np.concatenate([found for _, found, _ in waiting]))
        embedded.append(hashes, np.concatenate([embeddings for _, _, embeddings in waiting]))
        waiting.clear()
