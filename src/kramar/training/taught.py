"""A network that learns all its layers on views that were drawn before, with or without a teacher's word on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import nn

from kramar.data.manifest import Entry
from kramar.data.store import HASH_BYTES, RowStore
from kramar.models import maps, squares
from kramar.models.networks import Network
from kramar.models.squares import Squares, roomy
from kramar.progress import Progress
from kramar.records import Epoch, ResizeRule
from kramar.training import loop
from kramar.training.answers import answer, calibrated
from kramar.training.augment import DRAWING, POLICIES, draw
from kramar.training.losses import Loss
from kramar.training.recipe import Recipe
from kramar.training.tail import DrawnBatches, Targets

_COMMIT_EVERY = 256

View = tuple[npt.NDArray[np.uint8], list[int]]


@contextmanager
def drawn(
    entries: Sequence[Entry], rule: ResizeRule, recipe: Recipe, count: int, limit: float, progress: Progress
) -> Iterator[list[View]]:
    """``count`` views of photos by the recipe's policy: pixels ``[., S, S, 3]`` and where in them each photo's are.

    They are drawn once, and kept for the block and for the next one, within ``limit`` bytes. Raises OutputError.
    """
    name = f"{rule.key}-{recipe.augment}-{recipe.strength:g}-{DRAWING}"
    each = rule.size**2 * 3 + HASH_BYTES
    missing = sum(len(_pending(_store(name, rule, number), entries)) for number in range(count))
    with maps.room_for(name, count * len(entries) * each, missing * each, int(limit)):
        yield [_view(name, entries, rule, recipe, number, progress) for number in range(count)]


def _store(name: str, rule: ResizeRule, number: int) -> RowStore[np.uint8]:
    return RowStore(maps.folder() / name / f"view{number}", "squares.u8", (rule.size, rule.size, 3), np.uint8)


def _pending(store: RowStore[np.uint8], entries: Sequence[Entry]) -> list[Entry]:
    """One entry for each photo that is not there."""
    return list({entry.hash: entry for entry in entries if entry.hash not in store}.values())


def _view(
    name: str, entries: Sequence[Entry], rule: ResizeRule, recipe: Recipe, number: int, progress: Progress
) -> View:
    store = _store(name, rule, number)
    pending = _pending(store, entries)
    shown = roomy(rule) if number else rule
    squares.cache(pending, shown, progress)
    photos = squares.squares(pending, shown)
    policy = POLICIES[recipe.augment if number else "none"](rule, recipe.strength)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with progress.stage("Drawing views", len(pending)) as advance:
            for first in range(0, len(pending), _COMMIT_EVERY):
                some = pending[first : first + _COMMIT_EVERY]
                rows = [draw(policy, photos[first + i], entry.hash, number) for i, entry in enumerate(some)]
                store.append([entry.hash for entry in some], np.stack(rows))
                advance(len(some))
    finally:
        torch.set_num_threads(threads)
    return store.mapped(), store.places([entry.hash for entry in entries])


class SquareJudge:
    """Calibrated loss and accuracy of a network on validation photos of known class."""

    def __init__(self, photos: Squares, truth: Sequence[int]) -> None:
        self._photos, self._truth = photos, np.array(truth, np.int64)

    def __call__(self, model: nn.Module) -> tuple[float, float] | None:
        """See Judge."""
        if not len(self._truth):
            return None
        return calibrated(answer(model, self._photos), self._truth)


def learn(
    network: Network,
    views: Sequence[View],
    targets: Targets,
    judge: loop.Judge,
    recipe: Recipe,
    loss: Loss,
    *,
    seed: int,
    accelerator: Accelerator,
    progress: Progress,
    checkpoint: Path | None = None,
    body: Sequence[nn.Module] = (),
    stopped: Callable[[], bool] = lambda: False,
) -> list[Epoch]:
    """Train all of ``network``, in place, by ``recipe``; see `loop.fit`."""
    network.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = DrawnBatches(views, targets, batch=recipe.batch, seed=seed, accelerator=accelerator)
    return loop.fit(
        network,
        batches,
        judge,
        recipe,
        seed=seed,
        loss=loss,
        accelerator=accelerator,
        progress=progress,
        checkpoint=checkpoint,
        body=body,
        stopped=stopped,
    )
