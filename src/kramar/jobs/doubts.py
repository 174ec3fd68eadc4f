"""What ``kramar classify`` puts into the review queue: what the model is not sure of, and a share of what it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from kramar.config import parse_share, whole_number
from kramar.data.listing import Photo, PhotoFile
from kramar.errors import InputError, PhotoError
from kramar.files import sha256
from kramar.jobs.placed import missing_part, queue_name
from kramar.progress import Progress
from kramar.records import AUTO
from kramar.reviewing.records import Doubt
from kramar.runtime.model import Answer, Model

# Photos that are kept together: what others decide waits for it, but no longer than they notice. And bytes of them.
_TOGETHER, _BYTES = 64, 32_000_000
# A hundred years.
_MOST_DAYS = 36_500


def keep_days(given: int | str | None) -> int | None:
    """For how many days photos are kept, if they are. Raises InputError."""
    return None if given is None else whole_number(given, "--keep-days", 1, _MOST_DAYS)


def refuse_without_queue(**given: object) -> None:
    """Raise InputError where an option of the queue is given, by its Python name, and there is no queue."""
    for name, value in given.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} is of the review queue: add --queue, or leave {option} away")


class Doubts:
    """A review queue that takes photos of one model; within it, `see` each photo."""

    def __init__(
        self,
        model: Model,
        database: str | None,
        spot_check: str | float | None,
        keep_days: int | None,
        listener: Progress,
    ) -> None:
        """For the database at a path or URL, by default beside the model file; ``spot_check`` is the share of ``auto``.

        Photos are copied into it for ``keep_days``, or not at all. Raises InputError where the model has no decisions,
        or the database cannot be.
        """
        try:
            from kramar.reviewing import adding, choosing
            from kramar.reviewing.database import Database
        except ModuleNotFoundError as error:
            raise missing_part(error, "--queue") from None
        self._share = 0.0 if spot_check is None else parse_share(spot_check, "--spot-check")
        source = choosing.source(model, sha256(model.path))
        self._reason = partial(choosing.reason, source)
        self._database = Database(queue_name(model.path, database))
        self._keeps = keep_days is not None
        self._add: Callable[[Sequence[Doubt], datetime], int] = partial(
            adding.add, self._database, source, keep_days=keep_days
        )
        self._model, self._listener = model, listener
        self._found: list[Doubt] = []
        self._bytes = 0
        self._added = self._seen = 0

    def see(self, name: str, photo: Photo, answer: Answer) -> None:
        """Put a photo into the queue, if it is one to ask of."""
        said = self._model.predict(name, answer)
        if said.decision == AUTO and not self._share:
            return
        try:
            content = photo.read()
        except PhotoError:  # it was there when the model saw it, and a person could not see it any more
            return
        digest = hashlib.sha256(content).hexdigest()
        reason = self._reason(said.decision, digest, self._share)
        if reason is None:
            return
        assert answer.embedding is not None, "it was asked for"
        path = Path(photo.path).absolute() if isinstance(photo, PhotoFile) else None
        kept = content if self._keeps else None
        self._found.append(Doubt(digest, said, answer.embedding, reason, path, kept))
        self._bytes += len(kept or b"")
        if len(self._found) == _TOGETHER or self._bytes >= _BYTES:
            self._keep()

    def _keep(self) -> None:
        self._seen += len(self._found)
        self._added += self._add(self._found, datetime.now(UTC)) if self._found else 0
        self._found, self._bytes = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what was found, also where it ends early: those photos were answered."""
        del error, trace
        try:
            self._keep()
        finally:
            self._database.close()
        if kind is None:
            there = self._seen - self._added
            before = f"; {there:,} more are in it already" if there else ""
            self._listener.say(f"{self._added:,} photo(s) to review in {self._database.name}{before}")
