"""``kramar learn``: what people decided, folded into the model file's last layer."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from kramar.data.columns import parse_columns
from kramar.errors import InputError, MissingExtra, RunFolderError
from kramar.exporting import fingerprints
from kramar.files import output_error, replacing, sha256
from kramar.jobs.learnings import Learning, Learnings
from kramar.jobs.placed import check_there, missing_part, opened_queue, placed
from kramar.progress import Progress, Silent
from kramar.records import RunRecord, writable
from kramar.reviewing.records import NAME as QUEUE
from kramar.runtime.model import Model

if TYPE_CHECKING:
    from kramar.jobs.seen import Seen
    from kramar.reviewing.database import Database

_COMMAND = "kramar learn"


def learn(
    model: str | os.PathLike[str],
    *,
    database: str | None = None,
    out: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    undo: bool = False,
    progress: Progress | None = None,
) -> Learning:
    """Fit a model file's last layer further, to what people decided in the review queue, or take that back.

    The file is replaced in one step, when the new one is not worse on the validation photos; what it was is kept beside
    it. Decided photos only teach: temperature and decisions are fitted on the same photos as in training. Each time, it
    starts from the layer that was trained, with all that is decided by now.

    Args:
        model: a run folder, or a model file.
        database: the review queue: a file, or a URL of SQLite or PostgreSQL; by default ``review.sqlite`` beside it.
        out: another file for what has learnt; the model file stays as it is.
        data: the photos that the model was trained on, where they are not where its run found them; needed of a model
            file that is not in its run folder.
        columns: their table's column names by kramar's.
        undo: put back what the model file was before it learnt last; the review queue stays as it is.
        progress: who listens; nobody by default.

    Raises:
        InputError: there is nothing to learn, or nothing to take back; the photos are not those that it was trained on.
        FailedError: what it would learn makes it worse on the validation photos; nothing was changed.
    """
    path, run = placed(Path(model))
    with _alone(path):
        if undo:
            if out is not None or data is not None or columns:
                raise InputError("--undo puts back the file before: leave --out, --data and --columns away")
            return _undone(path, database)
        shown = None if data is None else Path(data)
        return _learnt(path, run, database, None if out is None else Path(out), shown, columns, progress or Silent())


def _learnt(
    path: Path,
    run: Path | None,
    database: str | None,
    out: Path | None,
    data: Path | None,
    columns: Mapping[str, str] | None,
    listener: Progress,
) -> Learning:
    try:
        from kramar.jobs.learning import Task, made
    except ModuleNotFoundError as error:
        raise missing_part(error, _COMMAND) from None
    began, before, learnings, opened = time.monotonic(), sha256(path), Learnings(path), Model(path)
    base = learnings.base(opened.card.corrections)
    body = fingerprints.body(path)
    with opened_queue(path, database, _COMMAND) as queue:
        seen = _seen(opened, body, run, data, columns, listener)
        with _beside(path) as folder:
            file = folder / path.name
            learning = made(Task(opened, Model(base), body, queue, seen), file, listener)
            after, layer = sha256(file), fingerprints.layer(file)
            # What else is in the file may have been fitted since, by photos that it had not seen.
            if out is None and layer == fingerprints.layer(path):
                raise InputError(f"{path}: has learnt all that is decided in {queue.name} already")
            learning = learning.model_copy(
                update={
                    "model": writable(str(out or path)),
                    "before": before,
                    "after": after,
                    "layer": layer,
                    "seconds": time.monotonic() - began,
                }
            )
            if out is None:
                learning = learnings.publish(file, learning, base)
            else:
                with replacing(out) as temporary:
                    shutil.copyfile(file, temporary)
        _note(queue, "learn", before, after, learning.learnt)
    return learning


def _undone(path: Path, database: str | None) -> Learning:
    # Where there is no queue any more, its history says nothing of it either.
    known = database is not None or path.with_name(QUEUE).is_file()
    with opened_queue(path, database, _COMMAND) if known else contextlib.nullcontext() as queue:
        last = Learnings(path).undo()
        if queue is not None:
            _note(queue, "undo", last.after, last.before, last.learnt)
    return last


def _note(queue: Database, kind: str, before: str, after: str, learnt: int) -> None:
    from kramar.reviewing.findings import note_learning

    note_learning(queue, kind, before, after, learnt)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One learning of a model file at a time."""
    try:
        import scipy  # noqa: F401 - what learning needs later, told before anything is done
        from filelock import FileLock, Timeout
    except ImportError:
        raise MissingExtra("train", _COMMAND) from None
    check_there(path)
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=0):
            yield
    except Timeout:
        raise RunFolderError(f"{path}: another kramar learn is at work on it; wait for it") from None


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """An empty folder beside ``path`` that goes when the block ends; what a killed learning left goes too."""
    prefix = f".{path.name}.learn."
    for leftover in path.parent.glob(f"{glob.escape(prefix)}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent)
    except OSError as error:
        raise output_error(path.parent, error) from error
    with folder as name:
        yield Path(name)


def _seen(
    model: Model,
    body: str,
    run: Path | None,
    data: Path | None,
    columns: Mapping[str, str] | None,
    listener: Progress,
) -> Seen:
    """What the model saw of the photos of its run: as the run left it, or seen anew and left there."""
    from kramar.jobs.seen import NAME, Seen, look

    if run is not None and data is None and (kept := Seen.read(run / NAME, body)) is not None:
        return kept
    if data is None and run is None:
        raise InputError(
            f"{model.path}: learning needs the photos that it was trained on too: name them with --data, "
            "or give its run folder"
        )
    source = data or Path(_record(run).data.source)
    if data is None and not source.exists():
        raise InputError(
            f"{source}: the photos of the run are not there any more, or not seen from this folder; "
            "name them with --data"
        )
    seen = look(model, body, source, columns or _columns(run), listener)
    if run is not None:
        seen.write(run / NAME)
    return seen


def _record(run: Path | None) -> RunRecord:
    assert run is not None, "a model file without its run needs --data"
    try:
        return RunRecord.model_validate_json((run / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        raise RunFolderError(f"{run}/run.json: not readable as a run's record; name the photos with --data") from None


def _columns(run: Path | None) -> Mapping[str, str]:
    """The columns that a run's table has."""
    from kramar.jobs.run import Plan

    if run is None:
        return {}
    try:
        plan = Plan.model_validate_json((run / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return {}
    return parse_columns(plan.options.get("--columns", ""))
