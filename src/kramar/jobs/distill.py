"""``kramar distill``: a teacher's knowledge for a small student, over temperatures and weights."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from kramar.config import (
    DEFAULT_CACHE_SIZE,
    DEFAULT_DISTILL_SEEDS,
    DEFAULT_GRID_BUDGET,
    DEFAULT_SEED,
    DEFAULT_TEMPERATURES,
    DEFAULT_WEIGHTS,
    RUNS_FOLDER,
    SCALINGS,
    TrainConfig,
    duration,
    parse_duration,
    parse_size,
    whole_number,
)
from kramar.data.columns import spelt
from kramar.errors import InputError
from kramar.files import sha256
from kramar.jobs.distill_run import Sweep
from kramar.jobs.gather import gather
from kramar.jobs.run import Finished, holds, name_of, opened
from kramar.jobs.study import sized
from kramar.models import architectures as known
from kramar.models import weights
from kramar.progress import Progress, Silent
from kramar.runtime.model import Model
from kramar.study import distillation
from kramar.study.distillation_records import DistillationRecord
from kramar.study.settings import NO_TRANSFER, Setting, default_recipe

FILES = ("run.json", "distillation.csv", "model.onnx", "report.html", "manifest.parquet")
STARTS = ("weights", "scratch")


class Distillation(Finished[DistillationRecord]):
    """A finished sweep."""

    @cached_property
    def model(self) -> Model:
        """The kept student's model file, open."""
        return Model(self.path / "model.onnx")


def distill(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    teacher: str | os.PathLike[str],
    student: str,
    temperature: str | Sequence[float] = DEFAULT_TEMPERATURES,
    weight: str | Sequence[float] = DEFAULT_WEIGHTS,
    scaling: str = SCALINGS[0],
    start: str | None = None,
    seeds: int = DEFAULT_DISTILL_SEEDS,
    budget: str | float = DEFAULT_GRID_BUDGET,
    size: int | None = None,
    epochs: int | None = None,
    teacher_epochs: int | None = None,
    cache_size: str | float = DEFAULT_CACHE_SIZE,
    seed: int = DEFAULT_SEED,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Distillation:
    """Teach ``student`` by every temperature and weight, and by labels alone, and keep the best one's model file.

    Args:
        data: a folder of class folders, or a CSV, JSONL or Parquet table.
        out: the run folder, by default ``kramar-runs/NAME_OF_DATA-distill``. An interrupted sweep goes on; a finished
            one is returned as it is.
        teacher: a run folder, a model file, or an architecture, which is then trained first: from ImageNet weights,
            where there are some on this machine and the student has some too.
        student: an architecture.
        temperature: T of the loss, several separated by commas.
        weight: lambda of the loss, several separated by commas.
        scaling: ``thesis`` (no factor), ``hinton`` (T squared) or ``dist``; see `kramar.training.losses`.
        start: ``weights`` or ``scratch``: what the student starts from; by default weights, where there are some.
        seeds: trainings of each cell.
        budget: wall time of the whole command, summed over resumes; what does not fit is left out, and said.
        size: side of the student's input in pixels, instead of the architecture's own.
        epochs: passes over the training photos of each lesson, instead of the recipe's own.
        teacher_epochs: the same of a teacher that is trained first.
        cache_size: what the drawn views may take at most (``"2GB"``, or bytes).
        seed: of the split; lessons have the seeds from it on.
        columns: the table's column names by kramar's.
        strict: fail where any photo, row or file has to be left out.
        progress: who listens; nobody by default.

    Raises:
        InputError: the data or an option is wrong; nothing was trained.
        FailedError: the machine said no.
    """
    options = TrainConfig(
        budget=parse_duration(budget),
        cache_size=parse_size(cache_size, "--cache-size"),
        seed=seed,
        strict=strict,
        columns=dict(columns or {}),
    )
    temperatures = distillation.numbers(temperature, "--temperature", least=0, above=True)
    lambdas = distillation.numbers(weight, "--weight", least=0, above=False)
    found = known.find(student, "--student").at(size)
    setting = _setting(found, start, epochs, options.seed, "--epochs")
    settings = [replace(setting, seed=options.seed + number) for number in range(whole_number(seeds, "--seeds", 1))]
    lessons = distillation.plan(settings, scaling, temperatures, lambdas)
    taught_by = _teacher(teacher, setting, start, teacher_epochs, options.seed)
    source = Path(data)
    folder = Path(out) if out is not None else Path(RUNS_FOLDER) / f"{name_of(source)}-distill"
    listener = progress or Silent()
    started = time.monotonic()
    gathered = gather(source, options, listener)
    sized(gathered.entries, [setting, *([taught_by] if isinstance(taught_by, Setting) else [])], size)
    chosen = {
        "command": "distill",
        "--teacher": str(teacher),
        # Another file by the same name is another teacher.
        "teacher file (SHA-256)": sha256(taught_by)[:12] if isinstance(taught_by, Path) else "",
        "--student": found.name,
        "--temperature": ",".join(f"{one:g}" for one in temperatures),
        "--weight": ",".join(f"{one:g}" for one in lambdas),
        "--scaling": scaling,
        "--start": "scratch" if setting.transfer == NO_TRANSFER else "weights",
        "--seeds": str(seeds),
        "--budget": duration(options.budget),
        "--size": str(size or ""),
        "--epochs": str(epochs or ""),
        "--teacher-epochs": str(teacher_epochs or ""),
        # Fewer views fit into less.
        "--cache-size": "" if cache_size == DEFAULT_CACHE_SIZE else f"{options.cache_size:.0f}",
        "--seed": str(options.seed),
        "--strict": str(strict),
        "--columns": spelt(options.columns),
    }
    if holds(folder, chosen, gathered.fingerprint, FILES):
        listener.say(f"{folder} is finished already: nothing to do")
        record = DistillationRecord.model_validate_json((folder / "run.json").read_text(encoding="utf-8"))
        return Distillation(folder, record, was_finished=True)
    for one in (setting, taught_by):
        if start is None and isinstance(one, Setting) and (why := _unweighted(one)):
            listener.say(f"Warning: {why}")
    with opened(folder, chosen, str(source), gathered.fingerprint, listener, started) as run:
        run.rooms["data"] = time.monotonic() - started
        return Distillation(folder, Sweep(source, options, lessons, taught_by, gathered, run).finish(chosen))


def _setting(found: known.Architecture, start: str | None, epochs: int | None, seed: int, option: str) -> Setting:
    """How an architecture is trained here. Raises InputError."""
    if start is not None and start not in STARTS:
        raise InputError(f"--start: expected {' or '.join(STARTS)}, found {start!r}")
    if start == "weights":
        weights.require(found)
    from_weights = start != "scratch" and weights.locate(found) is not None
    regime, transfer = ("weights+augment", "full") if from_weights else ("scratch+augment", NO_TRANSFER)
    recipe = default_recipe(found, regime, transfer)
    if epochs is not None:
        recipe = replace(recipe, epochs=whole_number(epochs, option, 1))
    return Setting(found, regime, transfer, recipe, seed)


def _unweighted(setting: Setting) -> str:
    """That an architecture which has ImageNet weights somewhere starts without, in words."""
    found = setting.architecture
    if setting.transfer != NO_TRANSFER or not found.stock:
        return ""
    if weights.locate(found) is not None:
        return f"{found.name} is trained from scratch, as the student is, though its ImageNet weights are here"
    return (
        f"{found.name} is trained from scratch, and will know less: there are no ImageNet weights of it on this "
        f"machine; {weights.remedy(found)}"
    )


def _teacher(
    given: str | os.PathLike[str], student: Setting, asked: str | None, epochs: int | None, seed: int
) -> Path | Setting:
    """A model file, or how the teacher is trained first, from what was ``asked``, or else as its student is.

    Raises InputError where it is neither.
    """
    path = Path(given)
    if (path / "model.onnx").is_file():
        return path / "model.onnx"
    if path.is_file():
        return path
    if path.is_dir():
        raise InputError(f"--teacher: {path} has no model.onnx; expected a run folder, a model file or an architecture")
    found = known.find(str(given), "--teacher")
    start = asked or ("scratch" if student.transfer == NO_TRANSFER else None)
    # From scratch it sees what its student sees, unless another size was asked for.
    size = student.architecture.resize.size if start == "scratch" and "@" not in found.name else None
    return _setting(found.at(size), start, epochs, seed, "--teacher-epochs")
