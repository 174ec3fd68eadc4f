"""Photos a second of kramar's training loop against the loops that engineers know, in one run on this CPU.

The reference is timm's ``train.py`` (torchvision's ``references/classification`` takes the same steps): the library's
own network, timm's own collation and prefetcher, SGD with momentum, the loss read each step, in whichever of its CPU
settings is fastest here. Its steps and kramar's take turns, so that whatever else the machine does meets both alike,
each in a process of its own, since kramar's keeps its memory from step to step (`kramar.machine.kept_memory`).
fastai's is a batch of its ``Learner`` with its defaults, on the same photos, in turns with kramar's steps too.
fastai is no part of kramar's environment (``pip install fastai`` beside it); without it that column stays empty.

``python -m benchmarks.training_speed [--quick] [ARCHITECTURE[@PIXELS] ...]``
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from statistics import median
from typing import Any

import torch
from timm.data.loader import PrefetchLoader, fast_collate
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from kramar import machine
from kramar.models.architectures import ARCHITECTURES, Architecture, find
from kramar.models.networks import Network
from kramar.progress import Silent
from kramar.study import speed
from kramar.study.speed import CLASSES, Noise
from kramar.training import loop, losses
from kramar.training.losses import Target
from kramar.training.recipe import Recipe

# Small, so that a step takes a second or less; at the size of DESIGN's first measurements where fastai is compared.
SIZE, DEPTHWISE_SIZE = 96, 192
SIZES = {"inception_v3": 139}
RECIPE = Recipe(epochs=1, batch=32, optimiser="sgd", label_smoothing=0.0)
DEPTHWISE = (
    "mobilenet_v1",
    "mobilenet_v2",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "mobilenetv4_small",
    "convnextv2_atto",
)
# Of the reference's best; of fastai's defaults, for networks of depthwise convolutions.
ASKED, ASKED_OF_FASTAI = 0.97, 1.5
CPU = speed.processors()[0]

Step = Callable[[], None]
Batch = tuple[Tensor, Tensor]


class Photos(Dataset[Any]):
    """The photos that kramar gets, as timm's datasets give them: uint8 ``[3, S, S]`` and class."""

    def __init__(self, noise: Noise) -> None:
        # Made beforehand: the reference pays for no transpose.
        self._photos = [noise[index].transpose(2, 0, 1).copy() for index in range(64)]
        self._length = len(noise)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._photos[index % 64], index % CLASSES


class Pooled(nn.Module):
    """kramar's own network without what kramar adds: pixels to logits."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.body, self.head = network.body, network.head

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(pixels)[1])
        return logits


def library_network(architecture: Architecture) -> nn.Module:
    """The network as its library builds it."""
    import timm
    import torchvision

    if architecture.library == "timm":
        create: Any = timm.create_model
        model: nn.Module = create(architecture.model, num_classes=CLASSES)
        return model
    if architecture.library == "torchvision":
        found: nn.Module = torchvision.models.get_model(architecture.model, num_classes=CLASSES)
        return found
    return Pooled(speed.build(architecture, CLASSES, CPU))


@dataclass(frozen=True)
class Way:
    """A CPU setting of the reference loop."""

    channels_last: bool
    half: bool = False

    @property
    def name(self) -> str:
        return ("channels_last" if self.channels_last else "contiguous") + (", bf16" if self.half else "")


def ways() -> list[Way]:
    """Those that can be the fastest here: without instructions for it, bf16 is many times slower."""
    has_half = "avx512_bf16" in torch.backends.cpu.get_cpu_capability().lower() or torch.cpu._is_avx512_bf16_supported()
    return [Way(last, half) for half in ((False, True) if has_half else (False,)) for last in (True, False)]


def reference(architecture: Architecture, noise: Noise, way: Way) -> Step:
    """One step of ``train_one_epoch`` in timm's ``train.py``."""
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    model = library_network(architecture).to(memory_format=layout).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=2e-5)
    loader: DataLoader[Any] = DataLoader(
        Photos(noise), batch_size=RECIPE.batch, shuffle=True, drop_last=True, collate_fn=fast_collate
    )
    loss_of = nn.CrossEntropyLoss()
    batches: Iterator[Batch] = itertools.chain.from_iterable(
        iter(PrefetchLoader(loader, architecture.mean, architecture.std, device=CPU.device)) for _ in itertools.count()
    )

    def step() -> None:
        inputs, truth = next(batches)
        if way.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=way.half):
            loss = loss_of(model(inputs), truth)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        loss.item()

    return step


def seconds(step: Step, times: int = 1) -> float:
    began = time.perf_counter()
    for _ in range(times):
        step()
    return time.perf_counter() - began


def fastest(architecture: Architecture, noise: Noise) -> tuple[Way, Step]:
    """The reference in its best setting, warm."""
    tried = {way: reference(architecture, noise, way) for way in ways()}
    took: dict[Way, list[float]] = {way: [] for way in tried}
    for _ in range(2 + _TRIES):
        for way, step in tried.items():
            took[way].append(seconds(step))
    best = min(took, key=lambda way: min(took[way][2:]))
    return best, tried[best]


@dataclass(frozen=True)
class Effort:
    """So many seconds of turns, and at least so many turns."""

    seconds: float = 20.0
    turns: int = 12


# Of each of the reference's settings, after two first steps.
_TRIES = 4
QUICK = Effort(6.0, 6)


class Elsewhere:
    """Another loop in a process of its own, which takes a step when it is asked to."""

    def __init__(self, kind: str, architecture: Architecture) -> None:
        """``kind`` is ``reference`` or ``fastai``; ``way`` is its setting, empty where that library is not there."""
        size = architecture.resize.size
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.training_speed", "--serve", kind]
        name = architecture.name.partition("@")[0]
        self._process = subprocess.Popen(
            [*command, f"{name}@{size}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.way = self._answer()

    def step(self) -> float:
        """Seconds of one step."""
        assert self._process.stdin is not None
        self._process.stdin.write("step\n")
        return float(self._answer())

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the other loop's process ended before it should")
        return line.strip()


def serve(kind: str, architecture: Architecture) -> None:
    """Take a step of the other loop for each line that comes in; the first line that goes out is its setting."""
    noise = Noise(architecture.resize.size)
    with speed.alone(CPU):
        if kind == "reference":
            way, step = fastest(architecture, noise)
            print(way.name, flush=True)
        else:
            found = fastai_step(architecture, noise)
            print("defaults" if found else "", flush=True)
            if found is None:
                return
            step = found
        for _ in sys.stdin:
            print(seconds(step), flush=True)


@dataclass
class Turns:
    """kramar's batches; between two of its steps, the other loop takes one of its own. Both are timed."""

    batches: loop.Batches
    other: Elsewhere
    effort: Effort
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def ratio(self) -> float:
        """kramar's speed by the other's: of neighbouring steps, since they met the same machine."""
        return median(theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True))

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Target]]:
        began = time.perf_counter()
        batches = iter(self.batches.epoch(number))
        for turn in itertools.count():
            start = time.perf_counter()
            batch = next(batches)
            yield batch
            took = time.perf_counter() - start
            theirs = self.other.step()
            if turn >= speed.WARM_STEPS:
                self.ours.append(took)
                self.theirs.append(theirs)
            if len(self.ours) >= self.effort.turns and time.perf_counter() - began > self.effort.seconds:
                return


def take_turns(architecture: Architecture, noise: Noise, accelerator: Any, other: Elsewhere, effort: Effort) -> Turns:
    """kramar's loop and another, step by step."""
    turns = Turns(batches_of(noise, accelerator), other, effort)
    loop.fit(
        speed.build(architecture, CLASSES, CPU),
        turns,
        lambda _: None,
        RECIPE,
        seed=0,
        loss=losses.of(RECIPE),
        accelerator=accelerator,
        progress=Silent(),
    )
    return turns


def batches_of(noise: Noise, accelerator: Any) -> loop.Batches:
    return speed.batches(noise, [index % CLASSES for index in range(len(noise))], RECIPE.batch, CPU, accelerator)


def fastai_step(architecture: Architecture, noise: Noise) -> Step | None:
    """One batch of ``Learner.fit`` with fastai's defaults, callbacks included; None without fastai.

    But for one: photos are in memory, and so no worker processes load them, which would take the cores away.
    """
    try:
        fastai: Any = import_module("fastai.basics")
    except ImportError:
        return None
    photos = Photos(noise)

    class Images:
        def __len__(self) -> int:
            return len(photos)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            image, label = photos[index]
            return fastai.TensorImage(torch.from_numpy(image)), fastai.TensorCategory(label)

    normal = fastai.Normalize.from_stats(architecture.mean, architecture.std, cuda=False)
    data = fastai.DataLoaders.from_dsets(
        Images(),
        Images(),
        bs=RECIPE.batch,
        num_workers=0,
        after_batch=[fastai.IntToFloatTensor(), normal],
        device=CPU.device,
    )
    learner = fastai.Learner(data, library_network(architecture), loss_func=nn.CrossEntropyLoss())
    # What Learner.fit does before its first batch.
    learner.create_opt()
    learner.dl = data.train
    learner.n_iter = len(data.train)
    for event in ("before_fit", "before_epoch", "before_train"):
        learner(event)
    batches = itertools.chain.from_iterable(iter(data.train) for _ in itertools.count())
    return lambda: learner.one_batch(0, next(batches))


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table, a row an architecture as it is measured."""
    effort = QUICK if "--quick" in arguments else Effort()
    names = [name for name in arguments if not name.startswith("-")] or list(ARCHITECTURES)
    print(f"{CPU.name}, {CPU.threads} threads, torch {torch.__version__}; batches of {RECIPE.batch}\n")
    print("| architecture | pixels | kramar | reference | in its best setting | ratio | ratio to fastai | |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with speed.alone(CPU) as accelerator, machine.kept_memory():
        for name in names:
            found = find(name)
            depthwise = found.family in DEPTHWISE
            architecture = found if "@" in name else found.at(SIZES.get(name, DEPTHWISE_SIZE if depthwise else SIZE))
            noise = Noise(architecture.resize.size)
            with Elsewhere("reference", architecture) as other:
                way, turns = other.way, take_turns(architecture, noise, accelerator, other, effort)
            fastai = None
            if depthwise:
                with Elsewhere("fastai", architecture) as other:
                    if other.way:
                        fastai = take_turns(architecture, noise, accelerator, other, effort).ratio
            met = turns.ratio >= ASKED and (fastai is None or fastai >= ASKED_OF_FASTAI)
            ours, theirs = (f"{RECIPE.batch / median(took):.1f}" for took in (turns.ours, turns.theirs))
            cells = [found.family, architecture.resize.size, ours, theirs, way, f"{turns.ratio:.3f}"]
            cells += ["" if fastai is None else f"{fastai:.2f}", "ok" if met else "MISS"]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], find(sys.argv[3]))
    else:
        main(sys.argv[1:])
