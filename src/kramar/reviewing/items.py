"""Photos of the queue for who decides them: what the model said of them, and where their bytes are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session, undefer

from kramar.data.listing import PhotoFile
from kramar.errors import PhotoError, ReviewError
from kramar.records import Ranked
from kramar.reviewing.database import Database
from kramar.reviewing.records import Item
from kramar.reviewing.standing import is_decided, of_item, stands
from kramar.reviewing.tables import DecisionRow, ItemRow, PhotoRow


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item's photo is: ``content`` where its bytes are kept, ``path`` where it is a file."""

    sha256: str
    content: bytes | None
    path: Path | None

    def read(self) -> bytes:
        """The photo's bytes, if they are still those that the model saw.

        Raises PhotoError: ``gone`` where they are nowhere, ``replaced`` where they are another photo's, ``unreadable``.
        """
        if self.content is not None:
            data, where = self.content, "its kept bytes"
        elif self.path is not None:
            data, where = _read(self.path), str(self.path)
        else:
            raise PhotoError("gone", "its bytes were not kept, or not any more, and it was no file")
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise PhotoError("replaced", f"{where}: another photo than the one that the model saw")
        return data


def missing(id_: int) -> ReviewError:
    """What is raised where there is no such item."""
    return ReviewError("missing", f"item {id_}: there is none such in the queue; ask for photos anew")


def items(session: Session, ids: Sequence[int], until: datetime | None = None) -> list[Item]:
    """The items with these ids, in their order, which their reviewer has ``until`` then."""
    rows = session.execute(
        select(ItemRow, PhotoRow).join(PhotoRow, PhotoRow.id == ItemRow.photo_id).where(ItemRow.id.in_(ids))
    )
    found = {
        row.id: Item(
            id=row.id,
            image=photo.name,
            sha256=photo.sha256,
            label=row.label,
            probability=row.probability,
            category=row.category,
            decision=row.decision,
            unknown_score=row.unknown_score,
            set=row.members,
            top=[Ranked.model_validate(one) for one in row.top],
            model=row.model,
            until=until,
        )
        for row, photo in rows
    }
    return [found[id_] for id_ in ids]


def item(database: Database, id_: int) -> Item:
    """One of them. Raises ReviewError where there is none such."""
    with database.reading() as session:
        if session.get(ItemRow, id_) is None:
            raise missing(id_)
        return items(session, [id_])[0]


def place(database: Database, id_: int) -> Place:
    """Where an item's photo is. Raises ReviewError where there is no such item."""
    with database.reading() as session:
        of_item = select(PhotoRow).join(ItemRow, ItemRow.photo_id == PhotoRow.id).where(ItemRow.id == id_)
        photo = session.scalar(of_item.options(undefer(PhotoRow.content)))
        if photo is None:
            raise missing(id_)
        path = Path(os.fsdecode(photo.place)) if photo.place else None
        return Place(photo.sha256, photo.content, path)


def seconds(database: Database, reviewer: str, most: int) -> list[Item]:
    """At most ``most`` photos that others decided and ``reviewer`` did not, for a second opinion.

    Those with the fewest opinions come first, the latest of them before the others. Nobody leases them: an opinion more
    does no harm.
    """
    opinions = select(func.count()).where(DecisionRow.item_id == ItemRow.id, stands()).scalar_subquery()
    latest = select(func.max(DecisionRow.id)).where(DecisionRow.item_id == ItemRow.id).scalar_subquery()
    with database.reading() as session:
        wanted = select(ItemRow.id).where(_is_open(reviewer)).order_by(opinions, latest.desc()).limit(most)
        return items(session, list(session.scalars(wanted)))


def count_seconds(database: Database, reviewer: str) -> int:
    """How many of them there are."""
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(ItemRow).where(_is_open(reviewer))) or 0


def is_decided_by_any(database: Database, id_: int) -> bool:
    """Whether a decision of an item stands."""
    with database.reading() as session:
        return bool(of_item(session, id_))


def _read(path: Path) -> bytes:
    try:
        return PhotoFile(path).read()
    except PhotoError as error:
        raise PhotoError("gone" if error.kind == "missing" else error.kind, f"{path}: {error}") from error


def _is_open(reviewer: str) -> ColumnElement[bool]:
    own = exists().where(DecisionRow.item_id == ItemRow.id, DecisionRow.reviewer == reviewer, stands())
    return is_decided() & ~own
