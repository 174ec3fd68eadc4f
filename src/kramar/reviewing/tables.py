"""The review queue's tables: photos, what models said of them, and what people decided.

Rows of ``decisions``, ``categories`` and ``learnings`` are added and never changed, which the database itself sees to;
what is decided now follows from them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Double, ForeignKey, Index, LargeBinary, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Moment(TypeDecorator[datetime]):
    """A moment, kept in UTC: SQLite knows no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """What is kept."""
        del dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """What was kept."""
        del dialect
        if value is None:
            return None
        found: datetime = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return found


class Table(DeclarativeBase):
    """What all of them are."""


class ModelRow(Table):
    """A model file that put photos into the queue.

    ``body`` names what gives its embeddings (`exporting.body`), ``classes`` are ``[label, category]`` each.
    """

    __tablename__ = "models"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    body: Mapped[str] = mapped_column(String(64))
    classes: Mapped[list[list[str]]] = mapped_column(JSON)
    precision_target: Mapped[float | None] = mapped_column(Double)
    added: Mapped[datetime] = mapped_column(Moment)


class PhotoRow(Table):
    """A photo by its content.

    ``place`` is its path as the system spells it, empty where it is no file; ``content``, its bytes until
    ``keep_until``, where it was asked to keep them.
    """

    __tablename__ = "photos"
    # With each photo that comes, those are looked for whose days are over.
    __table_args__ = (Index("photos_keep_until", "keep_until"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(Text)
    place: Mapped[bytes] = mapped_column(LargeBinary)
    content: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    keep_until: Mapped[datetime | None] = mapped_column(Moment)


class ItemRow(Table):
    """A photo in the queue and what a model said of it; ``embedding`` is float16 ``[D]``, little-endian."""

    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    photo_id: Mapped[int] = mapped_column(ForeignKey("photos.id"), unique=True)
    model: Mapped[str] = mapped_column(String(64), ForeignKey("models.sha256"))
    label: Mapped[str] = mapped_column(Text)
    probability: Mapped[float] = mapped_column(Double)
    category: Mapped[str] = mapped_column(Text)
    decision: Mapped[str] = mapped_column(String(16))
    unknown_score: Mapped[float | None] = mapped_column(Double)
    members: Mapped[list[str]] = mapped_column(JSON)
    top: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    embedding: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    reason: Mapped[str] = mapped_column(String(16))
    added: Mapped[datetime] = mapped_column(Moment)


class LeaseRow(Table):
    """Who is deciding an item, and until when nobody else gets it."""

    __tablename__ = "leases"

    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), primary_key=True)
    reviewer: Mapped[str] = mapped_column(Text)
    until: Mapped[datetime] = mapped_column(Moment)


class DecisionRow(Table):
    """What somebody decided, and when; ``undoes`` is the decision that an undo takes back."""

    __tablename__ = "decisions"
    __table_args__ = (Index("decisions_of_item", "item_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    reviewer: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment)
    kind: Mapped[str] = mapped_column(String(16))
    label: Mapped[str] = mapped_column(Text)
    undoes: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"), unique=True)


class CategoryRow(Table):
    """A category that a reviewer added."""

    __tablename__ = "categories"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(Text, unique=True)
    category: Mapped[str] = mapped_column(Text)
    reviewer: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment)


class LearningRow(Table):
    """A model file that learnt from the decisions (``kind`` learn), or was taken back (undo), by their SHA-256."""

    __tablename__ = "learnings"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment)
    kind: Mapped[str] = mapped_column(String(16))
    before: Mapped[str] = mapped_column(String(64))
    after: Mapped[str] = mapped_column(String(64))
    corrections: Mapped[int]
