"""The review queue: hands photos out, and takes what was decided of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session, undefer

from kramar.errors import InputError, ReviewError
from kramar.reviewing import ordering
from kramar.reviewing.database import Database, storable
from kramar.reviewing.items import items, missing
from kramar.reviewing.records import (
    ACCEPT,
    CATEGORY,
    KINDS,
    SPOT_CHECK,
    UNDO,
    Decided,
    Item,
    NewCategory,
)
from kramar.reviewing.standing import is_decided, of_item, told
from kramar.reviewing.tables import CategoryRow, DecisionRow, ItemRow, LeaseRow, ModelRow

# Photos that are compared for one batch, the most uncertain: comparing more takes longer than a person waits.
_COMPARED = 2000
# More than a reviewer asked for, since others may take some of them in the same moment.
_SPARE = 4


def utc() -> datetime:
    """This moment."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue in a database.

    Attributes:
        lease: how long a photo waits for the reviewer who got it.
        strategy: in which order photos are handed out (`ordering.STRATEGIES`).
        now: tells the time.
    """

    database: Database
    lease: timedelta = timedelta(minutes=10)
    strategy: str = ordering.DEFAULT_STRATEGY
    now: Callable[[], datetime] = utc

    def claim(self, reviewer: str, most: int) -> list[Item]:
        """At most ``most`` photos for ``reviewer``, whom nobody else gets them from until the lease ends.

        First those that the reviewer has already. Spot checks come before all others, the oldest first: an order that
        followed what the model says of them would make those that are decided look worse, or better, than all.
        """
        reviewer = _named(reviewer)
        now = self.now()
        until = now + self.lease
        with self.database.writing() as session:
            own = select(LeaseRow.item_id).join(ItemRow, ItemRow.id == LeaseRow.item_id).where(~is_decided())
            taken = list(session.scalars(own.where(LeaseRow.reviewer == reviewer, LeaseRow.until > now)))[:most]
            for id_ in [*taken, *self._ranked(session, most - len(taken), now)]:
                if len(taken) >= most and id_ not in taken:
                    break
                if id_ not in taken and not _is_free(session, id_, now):
                    continue
                session.merge(LeaseRow(item_id=id_, reviewer=reviewer, until=until))
                taken = taken if id_ in taken else [*taken, id_]
            session.flush()
            return items(session, taken, until)

    def release(self, reviewer: str) -> None:
        """Let others have the photos that ``reviewer`` has and did not decide."""
        with self.database.writing() as session:
            session.execute(delete(LeaseRow).where(LeaseRow.reviewer == _named(reviewer)))

    def decide(self, item: int, reviewer: str, kind: str, label: str = "", *, second: bool = False) -> Decided:
        """Keep what ``reviewer`` decided of a photo; when this returns, it is on disk.

        The same decision once more, as after an answer that was lost, is the one that stands. A lease that has ended
        counts as long as nobody else took the photo. Raises ReviewError where somebody else has it, or where it is
        decided, unless this is meant as a ``second`` opinion.
        """
        reviewer = _named(reviewer)
        if kind not in KINDS:
            raise InputError(f"decision: expected one of {', '.join(KINDS)}, found {kind!r}")
        with self.database.writing() as session:
            row = _locked(session, item)
            label = _label(session, row, kind, label)
            before = of_item(session, item)
            for one in before:
                if one.reviewer == reviewer and (one.kind, one.label) == (kind, label):
                    return told(one)
            _check_turn(session, item, reviewer, before, second=second)
            made = DecisionRow(item_id=item, reviewer=reviewer, at=self.now(), kind=kind, label=label)
            session.add(made)
            session.execute(delete(LeaseRow).where(LeaseRow.item_id == item))
            session.flush()
            return told(made)

    def undo(self, decision: int, reviewer: str) -> Decided:
        """Take back a decision of ``reviewer``'s own; where no other stands, they have the photo again.

        Raises ReviewError where there is none, it is somebody else's, or it was taken back already.
        """
        reviewer = _named(reviewer)
        with self.database.writing() as session:
            undone = session.get(DecisionRow, decision)
            if undone is None or undone.kind == UNDO:
                raise ReviewError("missing", f"decision {decision}: there is none such to take back")
            if undone.reviewer != reviewer:
                raise ReviewError(
                    "other", f"decision {decision}: {undone.reviewer} made it, not {reviewer}; give a second opinion"
                )
            _locked(session, undone.item_id)
            standing = of_item(session, undone.item_id)
            if undone.id not in [one.id for one in standing]:
                raise ReviewError("decided", f"decision {decision}: it was taken back already")
            now = self.now()
            made = DecisionRow(item_id=undone.item_id, reviewer=reviewer, at=now, kind=UNDO, label="", undoes=undone.id)
            session.add(made)
            if len(standing) == 1:
                session.merge(LeaseRow(item_id=undone.item_id, reviewer=reviewer, until=now + self.lease))
            session.flush()
            return told(made)

    def add_category(self, label: str, category: str, reviewer: str) -> NewCategory:
        """A category that no model has yet, for decisions from now on. Raises InputError where there is one."""
        label, category, reviewer = _named(label, "category"), _named(category, "category"), _named(reviewer)
        with self.database.writing(in_turn=True) as session:
            found = session.scalar(select(CategoryRow).where(CategoryRow.label == label))
            if found is None:
                if label in _classes(session):
                    raise InputError(f"category {label!r}: the model has it already; pick it")
                found = CategoryRow(label=label, category=category, reviewer=reviewer, at=self.now())
                session.add(found)
                session.flush()
            elif found.category != category:
                raise InputError(f"category {label!r}: {found.reviewer} added it as {found.category!r}; pick that")
            return NewCategory(label=found.label, category=found.category, reviewer=found.reviewer, at=found.at)

    def _ranked(self, session: Session, most: int, now: datetime) -> list[int]:
        """Photos that nobody has, in the order in which they are to be decided: more than ``most``."""
        if most <= 0:
            return []
        free = select(ItemRow).outerjoin(LeaseRow, LeaseRow.item_id == ItemRow.id).where(~is_decided())
        free = free.where(or_(LeaseRow.item_id.is_(None), LeaseRow.until <= now))
        checks = select(free.where(ItemRow.reason == SPOT_CHECK).order_by(ItemRow.id).subquery().c.id)
        ids = list(session.scalars(checks.limit(_SPARE * most)))
        if len(ids) >= most:
            return ids
        doubtful = free.where(ItemRow.reason != SPOT_CHECK).options(undefer(ItemRow.embedding))
        waiting = [_waiting(row) for row in session.scalars(doubtful.order_by(ItemRow.probability).limit(_COMPARED))]
        others = select(ItemRow).join(LeaseRow, LeaseRow.item_id == ItemRow.id).where(LeaseRow.until > now)
        beside = [_waiting(row) for row in session.scalars(others.options(undefer(ItemRow.embedding)))]
        random = np.random.default_rng([one.id for one in waiting])
        return [*ids, *ordering.ranked(self.strategy, waiting, _SPARE * most, beside, random)]


def _waiting(row: ItemRow) -> ordering.Waiting:
    first, second = (*row.top, {"label": "", "probability": 0.0})[:2]
    return ordering.Waiting(
        id=row.id,
        labels=(first["label"], second["label"]),
        margin=float(first["probability"] - second["probability"]),
        embedding=np.frombuffer(row.embedding, "<f2"),
    )


def _is_free(session: Session, id_: int, now: datetime) -> bool:
    """Whether nobody has or decided an item, which nobody else can take from here on."""
    free = select(ItemRow.id).where(ItemRow.id == id_).with_for_update(skip_locked=True)
    if session.scalar(free) is None:
        return False
    # Only now, with the row in hand, is what others did before to be seen.
    lease = session.scalar(select(LeaseRow).where(LeaseRow.item_id == id_).execution_options(populate_existing=True))
    return (lease is None or lease.until <= now) and not of_item(session, id_)


def _locked(session: Session, item: int) -> ItemRow:
    """An item that nobody else changes until this is done. Raises ReviewError where there is none."""
    row = session.scalar(select(ItemRow).where(ItemRow.id == item).with_for_update())
    if row is None:
        raise missing(item)
    return row


def _check_turn(session: Session, item: int, reviewer: str, before: Sequence[DecisionRow], *, second: bool) -> None:
    """Raise ReviewError where it is not ``reviewer``'s to decide an item of which the decisions ``before`` stand."""
    if any(one.reviewer == reviewer for one in before):
        raise ReviewError("decided", f"item {item}: {reviewer} decided it already; undo that first")
    if before and not second:
        raise ReviewError("decided", f"item {item}: {before[0].reviewer} decided it; give a second opinion, or go on")
    if second and not before:
        raise ReviewError("undecided", f"item {item}: nobody decided it; a second opinion needs a first")
    lease = session.get(LeaseRow, item)
    if not before and (lease is None or lease.reviewer != reviewer):
        who = "nobody has it" if lease is None else f"{lease.reviewer} has it"
        raise ReviewError("taken", f"item {item}: {reviewer} does not have it, {who}; ask for photos anew")


def _label(session: Session, row: ItemRow, kind: str, label: str) -> str:
    """The label that a decision of ``kind`` says. Raises ReviewError where it is none."""
    if kind == ACCEPT:
        return row.label
    if kind != CATEGORY:
        return ""
    label = storable(label)
    added = select(CategoryRow.label).where(CategoryRow.label == label)
    if label not in _classes(session, row.model) and session.scalar(added) is None:
        raise ReviewError("missing", f"category {label!r}: neither the model nor a reviewer has it; add it first")
    return label


def _classes(session: Session, model: str | None = None) -> set[str]:
    """The labels of a model, or of all models."""
    rows = select(ModelRow) if model is None else select(ModelRow).where(ModelRow.sha256 == model)
    return {label for row in session.scalars(rows) for label, _ in row.classes}


def _named(name: str, what: str = "reviewer") -> str:
    """A name as it is kept. Raises InputError where it is none."""
    kept = storable(" ".join(name.split()))
    if not kept or len(kept) > 200:
        raise InputError(f"{what}: expected a name of at most 200 characters, found {name[:40]!r}")
    return kept
