"""What ``kramar classify`` puts into the review queue: what the model is not sure of, and a share of what it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from kramar.config import parse_share
from kramar.data.listing import Photo, PhotoFile
from kramar.data.split import position
from kramar.errors import InputError, MissingExtra, PhotoError
from kramar.files import sha256
from kramar.progress import Progress
from kramar.records import AUTO
from kramar.reviewing.records import DOUBTFUL, NAME, SPOT_CHECK, Doubt, Source
from kramar.runtime.model import Answer, Model

# Photos that are kept together: what others decide waits for it, but no longer than they notice.
_TOGETHER = 64


class Doubts:
    """A review queue that takes photos of one model; within it, `see` each photo."""

    def __init__(self, model: Model, database: str | None, spot_check: str | float | None, listener: Progress) -> None:
        """For the database at a path or URL, by default beside the model file; ``spot_check`` is the share of ``auto``.

        Raises InputError where the model has no decisions, or the database cannot be.
        """
        try:
            from kramar.exporting import last_layer
            from kramar.reviewing import adding
            from kramar.reviewing.database import Database
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "kramar":
                raise
            raise MissingExtra("serve", "--queue") from None
        decisions = model.card.decisions
        if decisions is None:
            raise InputError(
                f"{model.path}: --queue asks what the model is not sure of, and it has no decisions; "
                "fit them with kramar decide"
            )
        self._share = 0.0 if spot_check is None else parse_share(spot_check, "--spot-check")
        self._source = Source(
            sha256=sha256(model.path),
            body=last_layer.body(model.path),
            classes={one.label: one.category for one in model.card.classes},
            precision_target=decisions.precision_target,
        )
        self._database = Database(database or str(model.path.parent / NAME))
        self._add: Callable[[Sequence[Doubt], datetime], int] = partial(adding.add, self._database, self._source)
        self._model, self._listener = model, listener
        self._found: list[Doubt] = []
        self._added = self._seen = 0

    def see(self, name: str, photo: Photo, answer: Answer) -> None:
        """Put a photo into the queue, if it is one to ask of."""
        said = self._model.predict(name, answer)
        if said.decision == AUTO and not self._share:
            return
        try:
            content = hashlib.sha256(photo.read()).hexdigest()
        except PhotoError:  # it was there when the model saw it, and a person could not see it any more
            return
        # By the photo, not by a draw: the same photos once more are the same share.
        drawn = position(f"spot check\0{self._source.sha256}\0{content}", 0) < self._share
        if said.decision == AUTO and not drawn:
            return
        assert answer.embedding is not None, "it was asked for"
        path = Path(photo.path).absolute() if isinstance(photo, PhotoFile) else None
        reason = SPOT_CHECK if said.decision == AUTO else DOUBTFUL
        self._found.append(Doubt(content, said, answer.embedding, reason, path))
        if len(self._found) == _TOGETHER:
            self._keep()

    def _keep(self) -> None:
        self._seen += len(self._found)
        self._added += self._add(self._found, datetime.now(UTC)) if self._found else 0
        self._found = []

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
            before = f"; {there:,} more are in it, decided or being decided" if there else ""
            self._listener.say(f"{self._added:,} photo(s) to review in {self._database.name}{before}")
