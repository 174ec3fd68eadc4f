"""``kramar audit``: what is wrong with labelled photos, before anything is learnt from them."""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from kramar import machine
from kramar.auditing import cleaning, gate
from kramar.auditing.cleaning import Change
from kramar.auditing.issues import KINDS, Issue, gravest_first, write_issues
from kramar.auditing.record import AuditRecord
from kramar.config import DEFAULT_BACKBONE, DEFAULT_SEED, RUNS_FOLDER, parse_seed
from kramar.data import manifest, split
from kramar.data.columns import spelt
from kramar.data.listing import Listing, mendable, refuse
from kramar.data.manifest import Entry
from kramar.data.sources import list_photos
from kramar.errors import DataError, RunFolderError
from kramar.evaluation.leakage import leakage
from kramar.evaluation.metrics import wilson
from kramar.files import make_folder, remove_leftovers, write_text
from kramar.jobs.account import Thumbnails
from kramar.jobs.cleaned import changes_file, check_named, write_cleaned
from kramar.jobs.judgement import judge
from kramar.jobs.run import name_of
from kramar.models import backbones, engines, features
from kramar.models.backbones import Backbone
from kramar.models.store import FeatureStore
from kramar.progress import Progress, Silent
from kramar.records import DataRecord, Leakage, LeftOut
from kramar.report.audit import render_audit
from kramar.runtime.session import Scores
from kramar.training.head import Part, fit_head
from kramar.version import __version__

_FILES = ("run.json", "issues.parquet", "report.html")


@dataclass(frozen=True, slots=True)
class Audit:
    """A finished audit.

    Attributes:
        path: its folder; ``record``, its ``run.json``.
        issues: what was found, the gravest kinds first.
        changes: what the cleaned table leaves out or labels anew, where one was asked for.
    """

    path: Path
    record: AuditRecord
    issues: list[Issue]
    changes: list[Change] | None

    @property
    def report(self) -> Path:
        """The page to look through."""
        return self.path / "report.html"


def audit(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    fix: str | os.PathLike[str] | None = None,
    backbone: str = DEFAULT_BACKBONE,
    seed: int = DEFAULT_SEED,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Audit:
    """Look for what is wrong with the labelled photos in ``data``.

    Args:
        data: a folder of class folders, or a CSV, JSONL or Parquet table.
        out: the audit's folder, by default ``kramar-runs/NAME_OF_DATA-audit``. An audit that is there is replaced.
        fix: a new table (``.csv``) without what is wrong; the data itself is never touched. What was removed or
            labelled anew, and why, is in a second table beside it (``NAME-changes.csv``).
        backbone: the network whose features labels are judged by.
        seed: draws the folds.
        columns: the table's column names by kramar's.
        strict: fail where any photo, row or file has to be left out.
        progress: who listens; nobody by default.

    Raises:
        InputError: the data or an option is wrong; nothing was written.
        OutputError: the disk says no.
    """
    seed = parse_seed(seed)
    source = Path(data)
    folder = Path(out) if out is not None else Path(RUNS_FOLDER) / f"{name_of(source)}-audit"
    target = None if fix is None else Path(fix)
    _check(folder, source, target)
    network = backbones.find(backbone)
    network.weights_file()
    rooms, listener = _Rooms(time.monotonic()), progress or Silent()
    with rooms("data"):
        listing = list_photos(source, dict(columns or {}))
        listed, unopened = manifest.hash_photos(listing, listener)
        left_out = [*listing.left_out, *unopened]
        if strict:
            refuse(left_out, source)
        if not listed:
            raise DataError(f"{source}: none of its photos can be opened; check the paths")
        if target is not None:
            check_named(listed, target)
    own_split = bool(listing.split_from)
    with rooms("photos"):
        passed = gate.look_over(listed, listener)
        entries = split.assign(passed.entries, seed) if own_split else passed.entries
        issues = gate.all_issues(passed, entries, own_split=own_split)
    with rooms("features"):
        readable, seen, unreadable = _features(entries, network, listener)
        left_out += unreadable
        if strict:
            refuse(unreadable, source)
    with rooms("labels"):
        judged = judge(readable, seen, seed, listener)
        issues += judged.issues
        leaked = _leakage(readable, seen, issues, seed) if own_split else None
    issues = gravest_first([*issues, *_unread(left_out)])
    changes = None
    if target is not None:
        changes = cleaning.changes(readable, passed.copied, issues, judged.guesses, own_split=own_split)
        write_cleaned(target, readable, changes, left_out)
    counts = Counter(issue.kind for issue in issues)
    record = AuditRecord(
        kramar=__version__,
        command=_command(source, folder, backbone, seed, columns, target, strict=strict),
        started=rooms.started,
        seed=seed,
        machine=machine.describe(),
        data=_data(source, listing, entries, readable, left_out),
        issues={kind: counts[kind] for kind in KINDS},
        label_scores=wilson(judged.right, judged.photos) if judged.photos else None,
        leakage=leaked,
        seconds={},
        peak_memory_bytes=0,
    )
    make_folder(folder)
    write_issues(issues, folder / "issues.parquet")
    with rooms("report"):
        page = render_audit(record, issues, {entry.image: entry.label for entry in readable}, Thumbnails(readable))
        write_text(folder / "report.html", page)
    record = record.model_copy(update={"seconds": rooms.seconds(), "peak_memory_bytes": machine.peak_memory()})
    write_text(folder / "run.json", record.model_dump_json(indent=1))
    return Audit(folder, record, issues, changes)


def _features(
    entries: Sequence[Entry], network: Backbone, listener: Progress
) -> tuple[list[Entry], Scores, list[LeftOut]]:
    """The photos that can be read, what the frozen network sees in them, ``[N, D]``, and those that cannot."""
    converted = engines.prepare(network, listener)
    choice = engines.choose(network, converted, listener)
    store = FeatureStore(features.store_folder(network, converted, choice), network.width)
    done = features.Worker(choice, converted, network).fill(store, entries, listener)
    readable = [entry for entry in entries if entry.hash in store]
    return readable, store.gather([entry.hash for entry in readable]), done.left_out


def _unread(left_out: Sequence[LeftOut]) -> list[Issue]:
    return [
        Issue(photo=out.image, kind="unreadable", suggestion="mend or remove it", detail=f"{out.kind}: {out.detail}")
        for out in mendable(left_out)
    ]


def _check(folder: Path, source: Path, target: Path | None) -> None:
    """Refuse places where something else is. Raises InputError."""
    if folder.is_file():
        raise RunFolderError(f"{folder}: a file is where the audit's folder should be; choose another place with --out")
    ours = {*_FILES, *((target.name, changes_file(target).name) if target is not None else ())}
    others = []
    if folder.is_dir():
        remove_leftovers(folder)
        others = [one.name for one in folder.iterdir() if one.name not in ours and not one.name.startswith(".")]
    if others:
        raise RunFolderError(
            f"{folder}: expected an empty folder or an earlier audit, found other files ({others[0]}); use a new --out"
        )
    if target is not None and target.suffix.lower() != ".csv":
        raise DataError(f"--fix: expected the name of a new table that ends in .csv, found {str(target)!r}")
    for one in (target, changes_file(target)) if target is not None else ():
        if one.exists() and source.exists() and one.samefile(source):
            raise DataError(f"--fix: {one} is the data itself, which is never touched; choose another name")
    if target is not None and target.exists() and not changes_file(target).exists():
        raise DataError(f"--fix: {target} is there already, and no --fix made it; choose another name")


@dataclass(slots=True)
class _Rooms:
    """How long each room takes."""

    began: float
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    took: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.took[name] = round(time.monotonic() - start, 2)

    def seconds(self) -> dict[str, float | dict[str, float]]:
        """In all, and by room."""
        return {"total": round(time.monotonic() - self.began, 2), "rooms": dict(self.took)}


def _leakage(entries: Sequence[Entry], seen: Scores, issues: Sequence[Issue], seed: int) -> Leakage | None:
    """What a linear layer gets right of the test photos, with and without those that have a copy among the others."""
    leaked = {issue.photo for issue in issues if issue.kind == "leak"}
    classes = sorted({entry.label for entry in entries if entry.split == "train"})
    if not leaked or len(classes) < 2:
        return None
    number = {label: place for place, label in enumerate(classes)}

    def part(name: str) -> Part:
        rows = [row for row, entry in enumerate(entries) if entry.split == name]
        return Part(
            seen[rows],
            np.array([number.get(entries[row].label, -1) for row in rows], np.int64),
            [entries[row].group for row in rows],
        )

    head, _ = fit_head(part("train"), part("val"), len(classes), seed, Silent())
    test = part("test")
    right = head(test.embeddings).argmax(axis=1) == test.truth
    return leakage(right, np.array([entry.image in leaked for entry in entries if entry.split == "test"], bool))


def _data(
    source: Path, listing: Listing, entries: Sequence[Entry], readable: Sequence[Entry], left_out: Sequence[LeftOut]
) -> DataRecord:
    parts = Counter(entry.split for entry in readable)
    return DataRecord(
        source=str(source),
        photos=len(readable),
        classes=len({entry.label for entry in readable}),
        fingerprint=manifest.fingerprint(entries),
        split={part: parts[part] for part in split.PARTS} if listing.split_from else {},
        split_from=listing.split_from,
        left_out={"unreadable": 0, **Counter(item.kind for item in left_out)},
        left_out_files=list(left_out),
        warnings=list(listing.warnings),
    )


def _command(
    source: Path,
    folder: Path,
    backbone: str,
    seed: int,
    columns: Mapping[str, str] | None,
    target: Path | None,
    *,
    strict: bool,
) -> str:
    words = ["kramar", "audit", str(source), "--out", str(folder)]
    if backbone != DEFAULT_BACKBONE:
        words += ["--backbone", backbone]
    if seed:
        words += ["--seed", str(seed)]
    if columns:
        words += ["--columns", spelt(dict(columns))]
    if target is not None:
        words += ["--fix", str(target)]
    if strict:
        words.append("--strict")
    return shlex.join(words)
