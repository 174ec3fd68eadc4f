"""What the endpoints share: the queue, and what is said of it."""

from __future__ import annotations

from datetime import timedelta

from kramar.desk.documents import Categories, Claimed, Decision, History, Live, Standing, Undone
from kramar.desk.settings import DeskConfig
from kramar.errors import ReviewError
from kramar.files import sha256
from kramar.reviewing import findings, items
from kramar.reviewing.database import Database
from kramar.reviewing.live import live_precision
from kramar.reviewing.queue import Queue
from kramar.reviewing.records import Decided

# Model files whose live precision is shown: the one that is there, and those that it came from.
_SHOWN = 3
# The page asks for its photos anew every minute and a half. It gives them back when it is left, but a browser may fail
# to send that while pictures are on their way.
_LEASE = timedelta(minutes=5)


class Table:
    """One desk's queue."""

    def __init__(self, config: DeskConfig) -> None:
        """Open the queue. Raises InputError where there is none, MissingExtra and OutputError."""
        self.database = Database(config.database, make=False)
        self.queue = Queue(self.database, _LEASE)
        self.learn, self._model = config.learn, config.model

    def close(self) -> None:
        """Give back its connections."""
        self.database.close()

    def claim(self, reviewer: str, most: int, *, second: bool) -> Claimed:
        """The photos that a reviewer has, at most ``most``, or that could have a second opinion of theirs."""
        found = items.seconds(self.database, reviewer, most) if second else self.queue.claim(reviewer, most)
        counts, seconds = findings.counts(self.database), items.count_seconds(self.database, reviewer)
        return Claimed(items=found, counts=counts, seconds=seconds)

    def decide(self, reviewer: str, given: Decision) -> Decided:
        """Keep a decision. Raises ReviewError where it was of another photo."""
        if given.sha256 and items.item(self.database, given.item).sha256 != given.sha256:
            raise ReviewError(
                "missing", f"item {given.item}: another photo has this number by now; ask for photos anew"
            )
        return self.queue.decide(given.item, reviewer, given.kind, given.label, second=given.second)

    def undo(self, reviewer: str, decision: int) -> Undone:
        """Take back a decision."""
        undo = self.queue.undo(decision, reviewer)
        item = items.item(self.database, undo.item)
        return Undone(undo=undo, item=item, second=items.is_decided_by_any(self.database, undo.item))

    def categories(self) -> Categories:
        """What may be picked."""
        return Categories(models=findings.models(self.database), added=findings.categories(self.database))

    def standing(self) -> Standing:
        """What the review has come to."""
        return Standing(
            counts=findings.counts(self.database),
            reviewers=findings.by_reviewer(self.database),
            agreement=findings.agreement(self.database),
            live=self._live(),
            learn=self.learn,
        )

    def history(self, most: int, before: int | None) -> History:
        """The newest rows, or those before one."""
        entries = findings.entries(self.database, most, before)
        return History(entries=entries, before=entries[-1].id if len(entries) == most else None)

    def _live(self) -> list[Live]:
        current = self._current()
        # The newest first; the file that is there is an older one after an undo.
        models = sorted((one.model for one in findings.models(self.database)), key=lambda one: one != current)
        names = models[:_SHOWN]
        found = [live_precision(self.database, name) for name in names]
        return [
            Live(**dict(one), current=one.model == current)
            for one in found
            if one.model == current or one.precision is not None or one.waiting
        ]

    def _current(self) -> str:
        """The SHA-256 of the model file that is there now; learning puts another in its place."""
        try:
            return sha256(self._model)
        except OSError:
            return ""
