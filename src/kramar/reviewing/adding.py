"""How photos come into the review queue, and when their bytes leave it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from kramar.reviewing.database import Database, storable
from kramar.reviewing.records import Doubt, Source
from kramar.reviewing.tables import DecisionRow, ItemRow, LeaseRow, ModelRow, PhotoRow


def add(
    database: Database, source: Source, doubts: Iterable[Doubt], now: datetime, keep_days: float | None = None
) -> int:
    """Put photos into the queue that are not in it; how many there were.

    A photo that is decided, or that somebody decides now, stays as it is, and so does one that waits with what the same
    model said; one that waits with what another said is asked anew, with what ``source`` says of it.
    The bytes of photos that have any are kept for ``keep_days``: without them, none is.
    """
    added = 0
    until = None if keep_days is None else now + timedelta(days=keep_days)
    forget(database, now)
    with database.writing(in_turn=True) as session:
        if session.get(ModelRow, source.sha256) is None:
            session.add(
                ModelRow(
                    sha256=source.sha256,
                    body=source.body,
                    classes=[[label, category] for label, category in source.classes.items()],
                    precision_target=source.precision_target,
                    added=now,
                )
            )
        for doubt in doubts:
            photo = _photo(session, doubt, until)
            if not _makes_room(session, photo, source, now):
                continue
            session.add(_item(photo, source, doubt, now))
            session.flush()
            added += 1
    return added


def forget(database: Database, now: datetime) -> int:
    """Delete the bytes of photos that were kept for as long as was asked; how many there were."""
    with database.writing() as session:
        old = update(PhotoRow).where(PhotoRow.content.is_not(None), PhotoRow.keep_until <= now)
        return session.execute(old.values(content=None, keep_until=None)).rowcount  # type: ignore[attr-defined, no-any-return]


def _photo(session: Session, doubt: Doubt, until: datetime | None) -> PhotoRow:
    """The photo's row, with the newest name, place and content."""
    row = session.scalar(select(PhotoRow).where(PhotoRow.sha256 == doubt.sha256).with_for_update())
    row = row or PhotoRow(sha256=doubt.sha256, name="", place=b"")
    row.name = storable(doubt.prediction.image)
    if doubt.path is not None:
        row.place = os.fsencode(doubt.path)
    if until is not None and doubt.content is not None:
        row.content, row.keep_until = doubt.content, until
    session.add(row)
    session.flush()
    return row


def _makes_room(session: Session, photo: PhotoRow, source: Source, now: datetime) -> bool:
    """Whether a photo may be asked (anew); what another model said of it, and nobody decides, goes."""
    row = session.scalar(select(ItemRow).where(ItemRow.photo_id == photo.id).with_for_update())
    if row is None:
        return True
    if row.model == source.sha256:
        return False
    lease = session.get(LeaseRow, row.id)
    touched = session.scalar(select(DecisionRow.id).where(DecisionRow.item_id == row.id).limit(1)) is not None
    if touched or (lease is not None and lease.until > now):
        return False
    if lease is not None:
        session.delete(lease)
        session.flush()
    session.delete(row)
    session.flush()
    return True


def _item(photo: PhotoRow, source: Source, doubt: Doubt, now: datetime) -> ItemRow:
    said = doubt.prediction
    assert said.probability is not None, "a photo that cannot be read is not asked"
    return ItemRow(
        photo_id=photo.id,
        model=source.sha256,
        label=said.label,
        probability=said.probability,
        category=said.category,
        decision=said.decision,
        unknown_score=said.unknown_score,
        members=said.set,
        top=[one.model_dump() for one in said.top],
        embedding=np.asarray(doubt.embedding, "<f2").tobytes(),
        reason=doubt.reason,
        added=now,
    )
