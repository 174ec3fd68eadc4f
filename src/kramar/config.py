"""What a user may set, each default written once."""

from __future__ import annotations

import functools
import math
import operator
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kramar.errors import InputError

# Where runs go by default; a data folder may hold it, since `kramar train .` puts it there.
RUNS_FOLDER = "kramar-runs"
DEFAULT_BUDGET = "10m"
DEFAULT_GRID_BUDGET = "2h"
DEFAULT_SEEDS = 3
DEFAULT_TEMPERATURES = "2,3,4,5"
DEFAULT_WEIGHTS = "0.1,0.3,0.5,0.9"
DEFAULT_DISTILL_SEEDS = 1
# How a teacher's word is weighed; the thesis's way first.
SCALINGS = ("thesis", "hinton", "dist")
DEFAULT_BENCHMARK_BUDGET = "10m"
DEFAULT_BACKBONE = "efficientnet_lite0"
DEFAULT_CACHE_SIZE = "2GB"
# The ladder, the lowest first.
RUNGS = ("head", "views", "tail", "whole", "distilled", "quantised")
DEFAULT_SEED = 0
# Of the answers that need no person, the share that is promised to be right; of sets, the share that holds the truth.
DEFAULT_PRECISION, SET_COVERAGE = 0.98, 0.95
DEFAULT_TOP = 5
DEFAULT_TRIALS = 30
DEFAULT_TUNE_BUDGET = "30m"
LARGEST_SEED = 2**32 - 1  # of numpy's RandomState, which scikit-learn draws from
_BYTES = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9}
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The options of one training run.

    Attributes:
        budget: wall seconds for the whole command, summed over resumes.
        max_size, max_latency: what the model file may be at most: bytes, and milliseconds for one ready photo.
        cache_size: bytes that cached maps may take.
        rungs: those that may be climbed.
        precision: the share of answers without a person that is promised to be right.
        columns: names of the table's columns by kramar's names (``{"image": "photo"}``).
        strict: whether anything left out fails the run.
        class_precision: whether the precision is promised for the answers of each class alone.
        class_sets: whether the coverage of sets is promised for each class alone.
        skip_audit: whether the photos are not looked over first: near twins may then be on both sides of a split.
    """

    budget: float = field(default_factory=lambda: parse_duration(DEFAULT_BUDGET))
    backbone: str = DEFAULT_BACKBONE
    max_size: float | None = None
    max_latency: float | None = None
    cache_size: float = field(default_factory=lambda: parse_size(DEFAULT_CACHE_SIZE, "--cache-size"))
    rungs: tuple[str, ...] = RUNGS
    precision: float = DEFAULT_PRECISION
    seed: int = DEFAULT_SEED
    strict: bool = False
    columns: dict[str, str] = field(default_factory=dict)
    class_precision: bool = False
    class_sets: bool = False
    skip_audit: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.budget < math.inf:
            raise InputError(
                f"--budget: expected more than no time, found {self.budget:g}s; try --budget {DEFAULT_BUDGET}"
            )
        object.__setattr__(self, "seed", parse_seed(self.seed))  # numpy's whole numbers are no int


def parse_seed(given: object) -> int:
    """The seed that ``given`` is or spells. Raises InputError where that is no seed."""
    return whole_number(given, "--seed", 0, LARGEST_SEED)


def whole_number(given: object, option: str, least: int, most: int | None = None) -> int:
    """The number that ``given`` is or spells. Raises InputError where it is not whole or out of bounds."""
    try:
        number = int(given) if isinstance(given, str) else operator.index(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = None
    if number is None or number < least or (most is not None and number > most):
        bounds = f"from {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{option}: expected a whole number {bounds}, found {given!r}")
    return number


def parse_duration(text: str | float, option: str = "--budget") -> float:
    """Seconds in ``90s``, ``10m``, ``1.5h``, ``1h30m`` or a bare number of seconds.

    Raises InputError for anything else.
    """
    if not isinstance(text, str):
        return float(text)
    compact = text.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        return float(compact)
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", compact):
        raise InputError(f"{option}: expected a duration such as 90s, 10m or 1h30m, found {text!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)([smhd])", compact))


def duration(seconds: float) -> str:
    """``seconds`` in the largest unit that holds them whole, as `parse_duration` reads it: ``10m``, ``90s``."""
    for unit, size in reversed(_UNITS.items()):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds}s"


def parse_size(text: str | float, option: str) -> float:
    """Bytes in ``4.4MB``, ``2GB``, ``800kB`` (powers of ten) or a bare number of bytes.

    Raises InputError for anything else, and for less than a kilobyte, in which nothing fits: a unit is missing.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?b)?", str(text).strip().lower().replace(" ", ""))
    size = float(found[1]) * _BYTES[found[2] or "b"] if found else 0.0
    if size < _BYTES["kb"]:
        bytes_only = f", which is {size:g} bytes" if found else ""
        raise InputError(f"{option}: expected a size such as 800kB, 4.4MB or 2GB, found {text!r}{bytes_only}")
    return size


def parse_latency(text: str | float, option: str = "--max-latency") -> float:
    """Milliseconds in ``20ms``, ``0.1s`` or a bare number of milliseconds.

    Raises InputError for anything else, and for nothing.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s)?", str(text).strip().lower().replace(" ", ""))
    latency = float(found[1]) * (1000.0 if found[2] == "s" else 1.0) if found else 0.0
    if not latency:
        raise InputError(f"{option}: expected a time for one photo such as 20ms, found {text!r}")
    return latency


def parse_share(text: str | float, option: str) -> float:
    """The share in ``0.98`` or ``98%``. Raises InputError for anything else, and for none and all."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*(%?)", str(text).strip())
    share = float(found[1]) / (100.0 if found[2] else 1.0) if found else 0.0
    if not 0 < share < 1:
        raise InputError(f"{option}: expected a share between 0 and 1 such as 0.98, found {text!r}")
    return share


def parse_rungs(text: str | Sequence[str]) -> tuple[str, ...]:
    """The rungs in ``text``, separated by commas, from the lowest. Raises InputError for an unknown one."""
    names = [name.strip() for name in (text.split(",") if isinstance(text, str) else text)]
    for name in names:
        if name not in RUNGS:
            raise InputError(f"--rungs: expected some of {', '.join(RUNGS)}, found {name!r}")
    if "head" not in names:
        raise InputError(f"--rungs: expected head among them, which the others stand on; found {', '.join(names)}")
    return tuple(rung for rung in RUNGS if rung in names)


def cache_folder() -> Path:
    """``KRAMAR_CACHE``, or kramar's folder in the user's cache folder."""
    if chosen := os.environ.get("KRAMAR_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "kramar" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "kramar"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kramar"


def cores() -> int:
    """Processor cores that this process may use: of its affinity, and of its container's quota."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(available, _quota(Path("/sys/fs/cgroup")))))


@functools.cache
def _quota(control_groups: Path) -> float:
    """Processor seconds a second that a container may use (``docker run --cpus 2``); infinite without a limit."""
    # Version 2 has both in one file, version 1 in two.
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((control_groups / name).read_text(encoding="ascii") for name in names).split()
            return int(quota) / int(period) if int(quota) > 0 else math.inf
        except (OSError, ValueError):  # "max" is no number
            continue
    return math.inf
