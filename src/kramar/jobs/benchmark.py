"""``kramar benchmark``: the thesis's table of training times, for this machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kramar import machine
from kramar.config import DEFAULT_BENCHMARK_BUDGET, RUNS_FOLDER, TrainConfig, duration, parse_duration
from kramar.errors import InputError, MissingExtra
from kramar.files import make_folder, write_text
from kramar.models import architectures as known
from kramar.models.architectures import ARCHITECTURES, Architecture
from kramar.progress import Progress, Silent
from kramar.records import Record
from kramar.training.answers import together
from kramar.version import __version__

try:
    import torch

    from kramar.report.speed import render_speed
    from kramar.study import classics, speed, speed_file
    from kramar.study.classics import Classic, Fetch, from_torchvision
    from kramar.study.settings import NO_TRANSFER, default_recipe
    from kramar.study.speed import Noise, Processor
    from kramar.study.speed_file import SpeedRecord
except ImportError:
    raise MissingExtra("train", "a benchmark") from None

if TYPE_CHECKING:
    from accelerate import Accelerator

FILE = "benchmark.csv"
NOISE = "noise"
# The network of the thesis's timings here: its own.
TIMED = "convnet"
# Of a processor's time, what epochs may take; the rest is for photos/s.
_EPOCHS_SHARE = 0.6
# A step takes about so many forward passes of its photos; the fewest steps are these.
_PASSES_A_STEP = 4
_FEWEST_STEPS = speed.WARM_STEPS + 1


class Benchmark(Record):
    """What ``kramar benchmark`` measured.

    Attributes:
        file: the table, which holds what other runs and machines measured too.
        report: the page that compares all of it.
        rows: what was measured now, then what is quoted from the thesis.
        left_out: what was not measured, and why.
    """

    file: str
    report: str
    rows: list[SpeedRecord]
    left_out: list[str]


def benchmark(
    out: str | os.PathLike[str] | None = None,
    *,
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    architectures: str | Sequence[str] = (),
    size: int | None = None,
    budget: str | float = DEFAULT_BENCHMARK_BUDGET,
    name: str | None = None,
    progress: Progress | None = None,
    fetch: Fetch = from_torchvision,
) -> Benchmark:
    """Time training and inference on every processor of this machine, and add the figures to a table.

    Args:
        out: the table, which several machines may share, or the folder of ``benchmark.csv``; by default
            ``kramar-runs/benchmark/benchmark.csv``. The page is beside it.
        data: local copies of MNIST (or Fashion-MNIST, which stands in) and CIFAR-10; what is not among them comes
            through torchvision.
        architectures: names, as in ``kramar compare``; by default all.
        size: side of the input in pixels, instead of each architecture's own.
        budget: wall time of the whole command; what does not fit is scaled up from a part or left out, and said.
        name: of this machine in the table; by default its own and its size.
        progress: who listens; nobody by default.
        fetch: what brings a data set that is not here.

    Raises:
        InputError: an option or the data is wrong, or neither data set can be had; nothing was measured.
        FailedError: the machine said no.
    """
    started = time.monotonic()
    seconds = TrainConfig(budget=parse_duration(budget)).budget
    chosen = _architectures(architectures, size)
    path = _table(Path(out) if out is not None else Path(RUNS_FOLDER) / "benchmark")
    speed_file.check(path)
    listener = progress or Silent()
    copies = [data] if isinstance(data, str | os.PathLike) else data
    found, missing = classics.gather([Path(one) for one in copies], fetch, listener)
    for reason in missing:
        listener.say(f"Warning: left out {reason}")
    make_folder(path.parent)
    speed_file.create(path)
    run = _Run(path, name or _name(), chosen, found, listener)
    run.measure(started + seconds, duration(seconds))
    report = path.with_suffix(".html")
    records, broken = speed_file.read(path)
    write_text(report, render_speed(records, path.name, [*missing, *run.left_out], broken))
    return Benchmark(
        file=str(path), report=str(report), rows=[*run.rows, *speed_file.THESIS], left_out=[*missing, *run.left_out]
    )


def _architectures(names: str | Sequence[str], size: int | None) -> list[Architecture]:
    named = [name.strip() for name in (names.split(",") if isinstance(names, str) else names) if name.strip()]
    if named:
        return [known.find(name).at(size) for name in dict.fromkeys(named)]
    if names:
        raise InputError(f"--architectures: expected at least one of {', '.join(ARCHITECTURES)}, found none")
    return [one.at(size and max(size, one.smallest)) for one in ARCHITECTURES.values()]


def _table(out: Path) -> Path:
    return out if out.suffix.lower() == ".csv" and not out.is_dir() else out / FILE


def _name() -> str:
    here = machine.describe()
    return f"{platform.node() or 'machine'}: {here['cores']} cores, {int(here['memory_bytes']) / 1e9:.0f} GB"


class _Run:
    """The measurements of one call; each is in the table as soon as it is done."""

    def __init__(
        self,
        path: Path,
        name: str,
        architectures: Sequence[Architecture],
        found: Sequence[Classic],
        listener: Progress,
    ) -> None:
        self._path, self._name, self._architectures = path, name, architectures
        self._found, self._listener = found, listener
        self.rows: list[SpeedRecord] = []
        self.left_out: list[str] = []

    @machine.kept_memory()
    def measure(self, end: float, budget: str) -> None:
        """Measure every processor until ``end``; each has the same share of the time."""
        processors = speed.processors()
        total = len(processors) * (len(self._found) + len(self._architectures))
        with self._listener.stage("Measuring", total) as advance:
            for place, processor in enumerate(processors):
                now = time.monotonic()
                until = now + (end - now) / (len(processors) - place)
                with speed.alone(processor) as accelerator:
                    for number, classic in enumerate(self._found):
                        share = _EPOCHS_SHARE * (until - time.monotonic()) / (len(self._found) - number)
                        self._epoch(classic, processor, accelerator, share)
                        advance(1)
                    for architecture in self._architectures:
                        self._rates(architecture, processor, accelerator, until, budget)
                        advance(1)

    def _epoch(self, classic: Classic, processor: Processor, accelerator: Accelerator, allowed: float) -> None:
        self._listener.say(f"Timing an epoch of {classic.title} on {processor.name}")
        architecture = known.find(TIMED).at(classic.photos.shape[1])
        recipe = default_recipe(architecture, "scratch+augment", NO_TRANSFER)
        network = speed.build(architecture, classics.CLASSES, processor)
        timed = speed.train(network, classic.photos, classic.truth, recipe, processor, accelerator, allowed)
        part = "" if timed.whole else f", scaled up from {timed.steps} of {timed.of} steps"
        self._add(
            processor,
            architecture,
            recipe.batch,
            dataset=classic.title,
            what=speed_file.TRAINING,
            covers=speed_file.EPOCH + part,
            value=timed.epoch,
            unit=speed_file.SECONDS,
        )

    def _rates(
        self, architecture: Architecture, processor: Processor, accelerator: Accelerator, until: float, budget: str
    ) -> None:
        """Photos a second of inference, then of training, which takes several times as long."""
        recipe = default_recipe(architecture, "weights", "full")
        noise = Noise(architecture.resize.size)
        figures = {"dataset": NOISE, "unit": speed_file.RATE}
        no_room = f"the budget of {budget} has no room for it"
        if time.monotonic() + 2 * speed.PROBE_SECONDS > until:
            self._leave_out(f"{architecture.name} on {processor.name}: {no_room}")
            return
        try:
            network = speed.build(architecture, speed.CLASSES, processor)
            count = together(architecture.resize.size)
            rate = speed.look(network, [noise[index] for index in range(count)], speed.PROBE_SECONDS)
            self._add(
                processor,
                architecture,
                count,
                **figures,
                what=speed_file.INFERENCE,
                covers=speed_file.PHOTO,
                value=rate,
            )
            step = _PASSES_A_STEP * recipe.batch / rate
            if time.monotonic() + max(speed.PROBE_SECONDS, _FEWEST_STEPS * step) > until:
                self._leave_out(f"training {architecture.name} on {processor.name}: {no_room}")
                return
            truth = [index % speed.CLASSES for index in range(len(noise))]
            timed = speed.train(network, noise, truth, recipe, processor, accelerator)
        except torch.OutOfMemoryError:
            self._leave_out(f"{architecture.name} on {processor.name}: its memory is too small")
            return
        self._add(
            processor,
            architecture,
            recipe.batch,
            **figures,
            what=speed_file.TRAINING,
            covers=speed_file.STEP,
            value=timed.rate,
        )

    def _add(
        self, processor: Processor, architecture: Architecture, batch: int, *, value: float, **figures: str
    ) -> None:
        row = SpeedRecord(
            machine=self._name,
            processor=processor.name,
            architecture=architecture.name,
            value=float(f"{value:.4g}"),
            source=speed_file.MEASURED,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            pixels=architecture.resize.size,
            batch=batch,
            threads=processor.threads or None,
            software=f"kramar {__version__}, torch {torch.__version__}",
            **figures,
        )
        speed_file.append(self._path, [row])
        self.rows.append(row)

    def _leave_out(self, what: str) -> None:
        self.left_out.append(what)
        self._listener.say(f"Warning: left out {what}")
