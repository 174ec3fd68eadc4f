"""A run folder: what it is for, how far it is, and what it holds when it is done."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from kramar.config import RUNS_FOLDER
from kramar.errors import InputError, MissingExtra, OutputError, RunFolderError
from kramar.files import make_folder, output_error, remove_leftovers, write_text
from kramar.models.engines import Choice
from kramar.progress import Advance, Progress
from kramar.records import Metrics, Record, RunRecord
from kramar.runtime.model import Model
from kramar.training.climb import Step

# What a run folder has before anything is made.
_OWN = ("run.log", "plan.json", ".lock")

_SAVE_EVERY = 2.0


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Finished(Generic[R]):
    """What a command made.

    Attributes:
        path: the run folder.
        record: everything in its ``run.json``.
        was_finished: whether it was found finished, so that nothing was done.
    """

    path: Path
    record: R
    was_finished: bool = False

    @property
    def report(self) -> Path:
        """The report, one self-contained HTML file."""
        return self.path / "report.html"


class Run(Finished[RunRecord]):
    """A finished run."""

    @property
    def metrics(self) -> Mapping[str, Metrics]:
        """Metrics by part (``test``, ``val``)."""
        return self.record.metrics

    @cached_property
    def model(self) -> Model:
        """The model file, open."""
        return Model(self.path / "model.onnx")


class Plan(Record):
    """``plan.json``: what a run folder is for, and the choices that a resumed run must repeat.

    Attributes:
        options: all that the outcome depends on but the data.
        fingerprint: of the data.
        spent: wall seconds so far, over all resumes.
        choice: the engine, once chosen.
        photos: how many photos the budget allows, once decided.
        steps: what was decided of each rung of the ladder, by key.
        trials: which trials the budget allows, once decided, and how long each of them was expected to take.
    """

    options: dict[str, str]
    source: str
    fingerprint: str
    started: str
    spent: float = 0.0
    choice: Choice | None = None
    photos: int | None = None
    steps: dict[str, Step] | None = None
    trials: dict[str, float] | None = None


class RunFolder:
    """An open run folder. One process at a time works in it."""

    def __init__(self, path: Path, plan: Plan, listener: Progress, since: float) -> None:
        self.path = path
        self.plan = plan
        self._listener = listener
        self._since = self._saved = since
        self.rooms: dict[str, float] = {}

    @property
    def elapsed(self) -> float:
        """Wall seconds spent on this run, resumes included."""
        return self.plan.spent + time.monotonic() - self._since

    def choose(
        self,
        *,
        choice: Choice | None = None,
        photos: int | None = None,
        steps: Mapping[str, Step] | None = None,
        trials: Mapping[str, float] | None = None,
    ) -> None:
        """Record choices before they are acted on, so that a resumed run repeats them."""
        changes = {"choice": choice, "photos": photos, "steps": steps, "trials": trials}
        self._save({name: value for name, value in changes.items() if value is not None})

    def _save(self, changes: Mapping[str, object]) -> None:
        now = time.monotonic()
        spent = self.plan.spent + now - self._since
        self.plan = self.plan.model_copy(update={**changes, "spent": spent})
        self._since = self._saved = now
        write_text(self.path / "plan.json", self.plan.model_dump_json(indent=1))

    @contextmanager
    def room(self, name: str) -> Iterator[None]:
        """Time what is done in a room."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.rooms[name] = self.rooms.get(name, 0.0) + time.monotonic() - start
            self._save({})
        self._log(f"{name}: {self.rooms[name]:.1f} s")

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:
        """Pass a bar on to who listens; the time spent is saved meanwhile, so that a kill does not lose it."""
        with self._listener.stage(name, total) as listener:

            def advance(done: int) -> None:
                listener(done)
                if time.monotonic() - self._saved > _SAVE_EVERY:
                    self._save({})

            yield advance

    def say(self, message: str) -> None:
        """Tell who listens, and ``run.log``."""
        self._listener.say(message)
        self._log(message)

    def _log(self, message: str) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with (self.path / "run.log").open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(f"{stamp} {message}\n")
        except OSError as error:
            raise output_error(self.path / "run.log", error) from error

    def finish(self, record: RunRecord) -> Run:
        """Write ``run.json``, which says that all the rest is there."""
        write_text(self.path / "run.json", record.model_dump_json(indent=1))
        return Run(self.path, record)


def name_of(data: Path) -> str:
    """What a run of ``data`` is called by default."""
    place = data if data.name not in ("", "..") else data.resolve()
    try:
        return place.stem if place.is_file() else place.name
    except OSError:  # it may not be entered, which whoever reads it says
        return place.name


def finished(path: Path, options: Mapping[str, str], fingerprint: str) -> Run | None:
    """The run in ``path`` if it is finished, None if there is none or a part of one.

    Raises RunFolderError where ``path`` holds something else: another folder, or a run of other data or options.
    """
    if not holds(path, options, fingerprint, ("run.json", "model.onnx", "report.html", "manifest.parquet")):
        return None
    try:
        record = RunRecord.model_validate_json((path / "run.json").read_text(encoding="utf-8"))
    except ValidationError:
        return None
    return Run(path, record, was_finished=True)


def holds(path: Path, options: Mapping[str, str], fingerprint: str, files: Sequence[str]) -> bool:
    """Whether ``path`` is a run of these options and data that has come as far as all of ``files``.

    Raises RunFolderError where ``path`` holds something else: another folder, or a run of other data or options.
    """
    try:
        if path.is_file():
            raise OutputError(f"{path}: a file is where the run folder should be; choose another place with --out")
        if not path.is_dir() or not any(entry for entry in path.iterdir() if not entry.name.startswith(".")):
            return False
    except OSError as error:
        raise output_error(path, error) from error
    try:
        plan = Plan.model_validate_json((path / "plan.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunFolderError(
            f"{path}: expected an empty folder or a kramar run, found other files; use a new --out"
        ) from None
    except (ValidationError, UnicodeDecodeError):
        raise RunFolderError(f"{path}/plan.json: not readable as a run's plan; use a new --out") from None
    for name in sorted(options.keys() | plan.options.keys()):
        ours, theirs = options.get(name), plan.options.get(name)
        if ours != theirs:
            raise RunFolderError(f"{path}: holds a run with {name} {theirs}, not {ours}; use a new --out, or delete it")
    # After the options, since another seed splits the same photos into other data.
    if plan.fingerprint != fingerprint:
        raise RunFolderError(
            f"{path}: holds a run of other data ({plan.source}, or the photos have changed since); "
            "use a new --out, or delete it"
        )
    return all((path / name).is_file() for name in files)


@contextmanager
def opened(
    path: Path,
    options: Mapping[str, str],
    source: str,
    fingerprint: str,
    listener: Progress,
    since: float | None = None,
) -> Iterator[RunFolder]:
    """The run folder, made or taken up again; where the input turns out to be wrong, it is not left behind.

    ``since`` is the moment (of ``time.monotonic``) from which the run's time counts: by default now.
    Raises OutputError, or RunFolderError where another process has it.
    """
    try:
        from filelock import FileLock, Timeout
    except ImportError:
        raise MissingExtra("train", "training") from None
    make_folder(path)
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunFolderError(f"{path}: another kramar is working in it; wait for it, or use a new --out") from None
    except OSError as error:
        raise output_error(path, error) from error
    is_new = not (path / "plan.json").is_file()
    try:
        if not is_new:
            remove_leftovers(path)
            remove_leftovers(path / "models")
            plan = Plan.model_validate_json((path / "plan.json").read_text(encoding="utf-8"))
        else:
            started = datetime.now(UTC).isoformat(timespec="seconds")
            plan = Plan(options=dict(options), source=source, fingerprint=fingerprint, started=started)
            write_text(path / "plan.json", plan.model_dump_json(indent=1))
        yield RunFolder(path, plan, listener, time.monotonic() if since is None else since)
    except InputError:
        # Where nothing was made that could go on, the place stays free for the corrected command.
        if is_new and not _is_begun(path):
            vacate(path)
        raise
    finally:
        lock.release()


def _is_begun(path: Path) -> bool:
    """Whether anything was made in a run folder."""
    return any(one.is_file() and one.name not in _OWN for one in path.rglob("*"))


def vacate(path: Path) -> None:
    """Take away a run folder in which nothing was made yet."""
    with contextlib.suppress(OSError):  # what is not empty is not ours
        (path / "models").rmdir()
    for name in _OWN:
        with contextlib.suppress(OSError):
            (path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.rmdir()
        if path.parent.name == RUNS_FOLDER:
            path.parent.rmdir()
