"""What is decided now, which follows from the history: decisions that nobody took back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import ColumnElement, Select, exists, select
from sqlalchemy.orm import Session, aliased

from kramar.reviewing.records import ACCEPT, CATEGORY, UNDO, Decided
from kramar.reviewing.tables import DecisionRow, ItemRow

_Undo = aliased(DecisionRow)


def stands() -> ColumnElement[bool]:
    """Of a row of ``decisions``: it decides something, and nobody took it back."""
    return (DecisionRow.kind != UNDO) & ~exists().where(_Undo.undoes == DecisionRow.id)


def is_decided() -> ColumnElement[bool]:
    """Of a row of ``items``: a decision of it stands."""
    return exists().where(DecisionRow.item_id == ItemRow.id, stands())


def standing() -> Select[DecisionRow]:
    """The decisions that stand, in the order in which they were made."""
    return select(DecisionRow).where(stands()).order_by(DecisionRow.id)


def of_item(session: Session, item: int) -> list[DecisionRow]:
    """Those of one item."""
    return list(session.scalars(standing().where(DecisionRow.item_id == item)))


def by_item(rows: Iterable[DecisionRow]) -> dict[int, list[DecisionRow]]:
    """Decisions by their item."""
    found: dict[int, list[DecisionRow]] = defaultdict(list)
    for row in rows:
        found[row.item_id].append(row)
    return found


def says(row: DecisionRow) -> str:
    """What a decision amounts to: to accept a label, or to pick it, is the same."""
    return f"label:{row.label}" if row.kind in (ACCEPT, CATEGORY) else row.kind


def agree(rows: Iterable[DecisionRow]) -> bool:
    """Whether decisions of one item say the same."""
    return len({says(row) for row in rows}) == 1


def told(row: DecisionRow) -> Decided:
    """A row of the history for others."""
    return Decided(
        id=row.id,
        item=row.item_id,
        reviewer=row.reviewer,
        at=row.at,
        kind=row.kind,
        label=row.label,
        undoes=row.undoes,
    )
