"""``benchmark.csv``: what machines measured, a row a figure. Several of them may append to one file at once."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from pydantic import Field, ValidationError

from kramar.errors import DataError
from kramar.files import output_error
from kramar.records import Record

MEASURED, QUOTED = "measured", "quoted"
TRAINING, INFERENCE = "training", "inference"
SECONDS, RATE = "s", "photos/s"
EPOCH, STEP, PHOTO = "epoch", "step", "photo"
UNSAID = "not said"
STANDS_FOR = ", stands for "


class SpeedRecord(Record):
    """One figure.

    Attributes:
        machine: its name and size.
        processor: as its maker calls it.
        dataset: ``MNIST``, ``CIFAR-10``, ``Fashion-MNIST, stands for MNIST`` or ``noise``.
        what: ``training`` or ``inference``.
        covers: ``epoch``, ``step`` or ``photo``: what ``value`` is the time or the rate of; after an epoch, how much
            of it was measured where that was not all.
        unit: of ``value``: ``s`` or ``photos/s``.
        source: ``measured``, or ``quoted`` from the thesis.
        when: UTC.
        pixels: side of a photo. ``batch``: photos at a time. ``threads``: of a CPU.
        software: versions.
    """

    machine: str
    processor: str
    dataset: str
    architecture: str
    what: str
    covers: str
    value: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    unit: str
    source: str
    when: str
    pixels: int | None = None
    batch: int | None = None
    threads: int | None = None
    software: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """What it is a figure of: of several, the last one counts."""
        return self.machine, self.processor, self.dataset, self.architecture, self.what, self.unit, self.pixels


@dataclass(frozen=True, slots=True)
class Line:
    """A processor's times for an epoch, by the set that they are for: a line of the thesis's table."""

    machine: str
    processor: str
    measured: bool
    times: dict[str, SpeedRecord] = field(default_factory=dict)

    @property
    def covers(self) -> str:
        """What its times cover, and what stands in."""
        said = {name: time.covers for name, time in self.times.items()}
        if len(set(said.values())) > 1:
            covers = [f"{name}: {covers}" for name, covers in said.items()]
        else:
            covers = list(said.values())[:1]
        return "; ".join([*covers, *(time.dataset for time in self.times.values() if STANDS_FOR in time.dataset)])


COLUMNS = tuple(SpeedRecord.model_fields)
# What other tools may rely on; what comes after it describes the measurement.
STABLE = COLUMNS[: COLUMNS.index("when") + 1]

# Seconds on MNIST and on CIFAR-10, as printed: see docs/processors.md.
_THESIS = {
    "Titan XP": (0.005, 21.10),
    "GTX 1080 Ti": (0.005, 26.45),
    "GTX 1080": (0.0055, 27.8),
    "GTX 1070": (0.0055, 29.6),
    "Intel Core i7": (0.3777, 1665.7),
}
THESIS = [
    SpeedRecord(
        machine="thesis",
        processor=processor,
        dataset=dataset,
        architecture=UNSAID,
        what=TRAINING,
        covers=UNSAID,
        value=value,
        unit=SECONDS,
        source=QUOTED,
        when="",
    )
    for processor, times in _THESIS.items()
    for dataset, value in zip(("MNIST", "CIFAR-10"), times, strict=True)
]


def lines(records: Sequence[SpeedRecord]) -> list[Line]:
    """The thesis's table: measured processors, then quoted ones, in the order of ``records``."""
    found: dict[tuple[str, str, bool], Line] = {}
    for one in records:
        if one.unit == SECONDS:
            key = (one.machine, one.processor, one.source == MEASURED)
            line = found.setdefault(key, Line(*key))
            name = one.dataset.rpartition(STANDS_FOR)[2]
            # The set itself rather than what stood in for it in an earlier run.
            if name not in line.times or one.dataset == name:
                line.times[name] = one
    return sorted(found.values(), key=lambda line: not line.measured)


def create(path: Path) -> None:
    """Make the file with the thesis's rows, unless there is one. Raises DataError where it is another, OutputError."""
    with _locked(path):
        if not _header(path):
            _add(path, COLUMNS, THESIS, with_header=True)


def append(path: Path, rows: Sequence[SpeedRecord]) -> None:
    """Add rows to the file that `create` made, in its own order of columns. Raises DataError, OutputError."""
    with _locked(path):
        _add(path, _header(path), rows)


def check(path: Path) -> None:
    """Raise DataError where ``path`` is another file than the results of ``kramar benchmark``, or a folder."""
    _header(path)


def read(path: Path) -> tuple[list[SpeedRecord], int]:
    """The newest figure of each kind, in the file's order, and how many rows could not be read."""
    columns = _header(path)
    found: dict[tuple[object, ...], SpeedRecord] = {}
    broken = 0
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        next(file, None)
        # A line at a time: no row has two, and one that was cut inside quotes must not swallow the next.
        for line in filter(str.strip, file):
            record = _parsed(line, columns)
            if record is None:
                broken += 1
            else:
                found.pop(record.key, None)
                found[record.key] = record
    return list(found.values()), broken


def _parsed(line: str, columns: Sequence[str]) -> SpeedRecord | None:
    fields = next(csv.reader([line]))
    if len(fields) != len(columns):
        return None
    row = {name: text for name, text in zip(columns, fields, strict=True) if text}
    try:
        return SpeedRecord.model_validate({"when": "", **row})  # a quoted figure has none
    except ValidationError:
        return None


def _header(path: Path) -> Sequence[str]:
    """The file's columns; none where there is no file, or an empty one. Raises DataError where it is another file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            columns = next(csv.reader(file), [])
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"--out: {path}: expected the results of kramar benchmark, found no text ({error})") from None
    if columns and not set(STABLE) <= set(columns):
        raise DataError(
            f"--out: {path}: expected the results of kramar benchmark ({','.join(STABLE)}), found a file that begins "
            f"with {','.join(columns)[:80]!r}; choose another"
        )
    return columns


def _add(path: Path, columns: Sequence[str], rows: Sequence[SpeedRecord], *, with_header: bool = False) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    if with_header:
        table.writeheader()
    table.writerows({name: value for name, value in row if value is not None} for row in rows)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            # A writer that was killed may have left a part of a row.
            begin = b"" if file.read(1) == b"\n" else b"\n"
        else:
            begin = b""
        file.write(begin + text.getvalue().encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            yield
    except OSError as error:
        raise output_error(path, error) from error
