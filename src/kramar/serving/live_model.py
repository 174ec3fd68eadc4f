"""The model file that is served, opened anew when it is replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import time

from kramar.errors import InputError
from kramar.files import sha256
from kramar.reviewing.records import Source
from kramar.runtime.heat import HeatMaps
from kramar.runtime.model import Model
from kramar.runtime.session import any_photo

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that answers: its heat maps if it has any, its file's SHA-256, and since when (seconds since 1970).

    ``model`` and its heat maps compute on one core, so that several threads may ask them at the same time, and
    ``alone`` is the same model on all of them. ``source`` is what the review queue knows it by; None where there is no
    queue, or its photos cannot be reviewed.
    """

    model: Model
    alone: Model
    heat_maps: HeatMaps | None
    sha256: str
    since: float
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class _State:
    """What changes when a file is written or replaced."""

    inode: int
    size: int
    modified: int


class LiveModel:
    """A model file; ``current`` is the newest of it that could be opened.

    A request takes ``current`` once, so that its answer is wholly from one model; the old one lives as long as a
    request has it.
    """

    def __init__(self, path: Path, threads: int, source: Callable[[Model, str], Source] | None = None) -> None:
        """Open ``path``, for one thread and for ``threads`` together.

        ``source`` tells what the review queue knows a file by.

        Raises ModelFileError, and InputError where the file's photos cannot be reviewed.
        """
        self._path, self._threads, self._source = path, threads, source
        self._seen = self._state()
        self.current = self._open(must=True)
        self.problem = ""

    def look(self) -> bool | None:
        """Open the file anew where it has changed: whether that worked, or None where nothing has changed.

        It takes as long as opening a model does, and is called by one thread at a time.
        """
        state = self._state()
        if state == self._seen:
            return None
        try:
            opened = self._open()
        except Exception as error:  # whatever it is, the old one goes on
            # What is written again is looked at again; what stays as it is, is told once.
            self._seen, self.problem = state, str(error)
            log.exception("new model file refused, the old one goes on")
            return False
        if self._state() != state:
            return None  # replaced once more meanwhile: the next look takes that one
        self._seen, self.problem, self.current = state, "", opened
        log.info("new model file", extra={"sha256": opened.sha256, "classes": len(opened.model.card.classes)})
        return True

    def _open(self, *, must: bool = False) -> Opened:
        """The file; ``must`` its photos be fit for review, where there is a queue, or does it answer all the same."""
        model = Model(self._path, threads=1)
        alone = Model(self._path, self._threads) if self._threads > 1 else model
        heat_maps = HeatMaps(model, threads=1) if model.has("feature_map") else None
        # The first run of a session takes longer: no request should wait for it. And heat maps read a part of the file
        # at their first run, when it may be another one's by then.
        photo = any_photo(model.card.resize.size)
        for one in (model, alone):
            one.answers(photo)
        if heat_maps is not None:
            list(heat_maps.explained(photo))
        digest, source = sha256(self._path), None
        if self._source is not None:
            try:
                source = self._source(model, digest)
            except InputError as error:
                if must:
                    raise
                log.warning("photos of the new model file are not queued for review", extra={"problem": str(error)})
        return Opened(model, alone, heat_maps, digest, time(), source)

    def _state(self) -> _State | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return _State(found.st_ino, found.st_size, found.st_mtime_ns)
