"""How fast this machine trains and looks: an epoch of a network, and photos a second, on each of its processors."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from kramar import machine
from kramar.config import cores
from kramar.data.pixels import Pixels
from kramar.models import networks
from kramar.models.architectures import Architecture
from kramar.models.networks import AUXILIARY_SIZE, Network, Top
from kramar.models.squares import Squares
from kramar.progress import Silent
from kramar.records import ResizeRule
from kramar.training import augment, loop, losses
from kramar.training.answers import answer
from kramar.training.losses import Target
from kramar.training.photos import PhotoBatches, beside
from kramar.training.recipe import Recipe

# First steps, in which libraries choose their kernels, are not measured.
WARM_STEPS = 2
# The least that is measured of anything.
PROBE_SECONDS = 3.0
# Classes of the thesis's goods: what networks that look at noise are built for.
CLASSES = 69
# As many photos of noise are different; more would take memory, and no other time.
_DIFFERENT = 64
_MANY = 1 << 14


@dataclass(frozen=True, slots=True)
class Processor:
    """What can train.

    Attributes:
        name: as its maker calls it.
        threads: of the CPU that work at once; 0 for a GPU.
    """

    device: torch.device
    name: str
    threads: int = 0

    def wait(self) -> None:
        """Until all that was asked of it is done: a GPU answers before it has finished."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def processors() -> list[Processor]:
    """The CPU, then each GPU; those of one name are numbered."""
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    cpu = Processor(torch.device("cpu"), str(machine.describe()["processor"]), cores())
    return [
        cpu,
        *(
            Processor(torch.device("cuda", number), f"{name}, number {number}" if names.count(name) > 1 else name)
            for number, name in enumerate(names)
        ),
    ]


@contextmanager
def alone(processor: Processor) -> Iterator[Accelerator]:
    """The processor as a training has it, with mixed precision on a GPU."""
    # Accelerate keeps one device a process, and knows no public way to take another one.
    AcceleratorState._reset_state(reset_partial_state=True)
    threads = torch.get_num_threads()
    try:
        if processor.device.type == "cuda":
            with torch.cuda.device(processor.device):
                has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
                yield Accelerator(mixed_precision="bf16" if has_bf16 else "no")
        else:
            torch.set_num_threads(processor.threads)
            yield Accelerator(cpu=True, mixed_precision="no")
    finally:
        torch.set_num_threads(threads)
        AcceleratorState._reset_state(reset_partial_state=True)


@dataclass(frozen=True, slots=True)
class Timed:
    """``steps`` of the ``of`` in an epoch, with so many photos, in so many seconds."""

    steps: int
    of: int
    photos: int
    seconds: float

    @property
    def rate(self) -> float:
        """Photos a second."""
        return self.photos / self.seconds

    @property
    def epoch(self) -> float:
        """Seconds for all steps: measured where all of them were taken, or else in proportion."""
        return self.seconds * self.of / self.steps

    @property
    def whole(self) -> bool:
        """Whether every step of the epoch was taken."""
        return self.steps == self.of


class Metered:
    """Batches whose second epoch is timed, after a first of a few steps.

    The second is cut short where it has taken ``PROBE_SECONDS`` and all of it would take more than ``allowed``.
    """

    timed: Timed

    def __init__(self, batches: loop.Batches, processor: Processor, allowed: float) -> None:
        self._batches, self._processor, self._allowed = batches, processor, allowed

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Target]]:
        """See Batches."""
        batches = self._batches.epoch(number)
        if number == 0:
            yield from itertools.islice(batches, WARM_STEPS)
            return
        self._processor.wait()
        began, photos = time.perf_counter(), 0
        for steps, (inputs, target) in enumerate(batches, 1):
            yield inputs, target
            photos += len(inputs)
            took = time.perf_counter() - began
            if took > PROBE_SECONDS and took / steps * len(self) > self._allowed:
                break
        self._processor.wait()
        self.timed = Timed(steps, len(self), photos, time.perf_counter() - began)


class Noise:
    """Photos for whoever asks only how long they take."""

    def __init__(self, size: int) -> None:
        self._squares = np.random.default_rng(0).integers(0, 256, (_DIFFERENT, size, size, 3), np.uint8)

    def __len__(self) -> int:
        return _MANY

    def __getitem__(self, index: int) -> Pixels:
        if index >= _MANY:
            raise IndexError(index)
        square: Pixels = self._squares[index % _DIFFERENT]
        return square


def build(architecture: Architecture, classes: int, processor: Processor) -> Network:
    """The network as a training from scratch has it, on the processor."""
    auxiliary = architecture.model == "inception_v3" and architecture.resize.size >= AUXILIARY_SIZE
    network = networks.build(architecture, classes, Top(), 0, auxiliary=auxiliary)
    return network.to(processor.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def batches(
    photos: Squares, truth: Sequence[int], batch: int, processor: Processor, accelerator: Accelerator
) -> PhotoBatches:
    """Photos as they are, not augmented."""
    size = photos[0].shape[0]
    return PhotoBatches(
        photos,
        truth,
        augment.none(ResizeRule(size=size, crop=1.0, filter="bicubic"), 0.0),
        size=size,
        batch=batch,
        seed=0,
        accelerator=accelerator,
        workers=beside(processor.device),
    )


def train(
    network: Network,
    photos: Squares,
    truth: Sequence[int],
    recipe: Recipe,
    processor: Processor,
    accelerator: Accelerator,
    allowed: float = 0.0,
) -> Timed:
    """Time an epoch of kramar's own training loop, or its beginning where that would take more than ``allowed``.

    What is timed: photos in memory, as they are, put into batches; forward, backward, optimiser and, where ``recipe``
    has one, the moving average. No augmentation, no validation; the recipe's epochs do not matter.
    """
    metered = Metered(batches(photos, truth, recipe.batch, processor, accelerator), processor, allowed)
    loop.fit(
        network,
        metered,
        lambda _: None,
        replace(recipe, epochs=2),
        seed=0,
        loss=losses.of(recipe),
        accelerator=accelerator,
        progress=Silent(),
    )
    return metered.timed


def look(network: Network, photos: Squares, seconds: float) -> float:
    """Photos a second of forward passes in float32 for ``seconds``, from photos in memory to logits in memory."""
    network.eval()
    for _ in range(WARM_STEPS):
        answer(network, photos)
    began, done, took = time.perf_counter(), 0, 0.0
    while not done or took < seconds:
        answer(network, photos)
        done += len(photos)
        took = time.perf_counter() - began
    return done / took
