"""Batches of photos for training and validation, the same ones for the same seed, however they are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from kramar.config import cores
from kramar.models.squares import Squares
from kramar.training.augment import Policy
from kramar.training.seeds import derived

# Photos whose sides add up to this share one draw of the augmentation: for small ones, drawing costs more than doing
# (RandomCrop at 32 px: 95 us for one photo, 144 us for sixteen).
_SHARED_SIDE = 256

Place = tuple[int, list[int]]
Batch = tuple[Tensor, Tensor]


class TrainingPhotos(Dataset[Batch]):
    """Batches of photos of known class, augmented anew each epoch; the draw depends on seed, epoch and batch alone."""

    def __init__(self, squares: Squares, truth: Sequence[int], policy: Policy, size: int, seed: int) -> None:
        self._squares, self._policy, self._seed = squares, policy, seed
        self._truth = torch.tensor(truth)
        self._together = max(1, _SHARED_SIDE // size)

    def __getitem__(self, place: Place) -> Batch:
        """uint8 ``[B, S, S, 3]`` and classes ``[B]``, of (epoch, indices)."""
        epoch, indices = place
        photos = torch.from_numpy(np.stack([self._squares[index] for index in indices])).permute(0, 3, 1, 2)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived(self._seed, epoch, indices[0]))
            drawn = [self._policy(some) for some in torch.split(photos, self._together)]
        return torch.cat(drawn).permute(0, 2, 3, 1).contiguous(), self._truth[indices]


class Shuffled(Sampler[Place]):
    """(epoch, indices of a batch), in an order that depends on seed and epoch alone; each process gets its share.

    An epoch of fewer photos than there are goes on where the one before it ended: none is seen again before all were.
    """

    def __init__(
        self, photos: int, batch: int, seed: int, process: int = 0, processes: int = 1, most: int | None = None
    ) -> None:
        """``most``: photos an epoch, if not all."""
        self._photos, self._seed, self.epoch = photos, seed, 0
        self._batch = min(batch, max(1, photos // processes))
        self._process, self._processes = process, processes
        # All full, since few photos would upset batch normalisation; as many for each process.
        self._in_all = photos // self._batch // processes
        self._steps = self._in_all if most is None else min(self._in_all, max(1, most // self._batch // processes))

    def __len__(self) -> int:
        """Batches of an epoch, of one process."""
        return self._steps

    def __iter__(self) -> Iterator[Place]:
        order: list[int] = []
        for step in range(self.epoch * self._steps, (self.epoch + 1) * self._steps):
            time_round, number = divmod(step, self._in_all)
            if not order or not number:
                order = np.random.default_rng([self._seed, time_round]).permutation(self._photos).tolist()
            start = (number * self._processes + self._process) * self._batch
            yield self.epoch, order[start : start + self._batch]


def beside(device: torch.device) -> int:
    """Processes that load and augment photos beside the training; none where it needs all cores itself."""
    return max(1, cores() - 1) if device.type == "cuda" else 0


class PhotoBatches:
    """The training photos, batch by batch, epoch by epoch."""

    def __init__(
        self,
        squares: Squares,
        truth: Sequence[int],
        policy: Policy,
        *,
        size: int,
        batch: int,
        seed: int,
        accelerator: Accelerator,
        workers: int = 0,
        most: int | None = None,
    ) -> None:
        """``workers`` processes load and augment beside the training (see `beside`).

        An epoch is of at most ``most`` photos, if not of all.
        """
        self._device = accelerator.device
        self._sampler = Shuffled(len(truth), batch, seed, accelerator.process_index, accelerator.num_processes, most)
        self._loader: DataLoader[Any] = DataLoader(
            TrainingPhotos(squares, truth, policy, size, seed),
            batch_size=None,
            sampler=self._sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self._device.type == "cuda",
        )

    def __len__(self) -> int:
        return len(self._sampler)

    def epoch(self, number: int) -> Iterator[Batch]:
        """uint8 images ``[B, S, S, 3]`` and their classes ``[B]``, on the device."""
        self._sampler.epoch = number
        for images, truth in self._loader:
            yield images.to(self._device, non_blocking=True), truth.to(self._device, non_blocking=True)


class ViewBatches:
    """Embeddings of the training photos; where each photo was seen several times, epochs take turns."""

    def __init__(
        self, views: Sequence[Tensor], truth: Sequence[int], *, batch: int, seed: int, accelerator: Accelerator
    ) -> None:
        """``views`` are float32 ``[N, D]`` each."""
        self._views = [view.to(accelerator.device) for view in views]
        self._truth = torch.tensor(truth, device=accelerator.device)
        self._sampler = Shuffled(len(truth), batch, seed, accelerator.process_index, accelerator.num_processes)

    def __len__(self) -> int:
        return len(self._sampler)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Embeddings ``[B, D]`` and classes ``[B]``, on the device."""
        self._sampler.epoch = number
        view = self._views[number % len(self._views)]
        for _, indices in self._sampler:
            yield view[indices], self._truth[indices]
