"""What the review queue has come to: how many, who, and what models learn from it."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import undefer

from kramar.evaluation.metrics import wilson
from kramar.records import ClassCard, Estimate
from kramar.reviewing.database import Database
from kramar.reviewing.queue import utc
from kramar.reviewing.records import Correction, Counts, Entry, Known, NewCategory, Reviewed
from kramar.reviewing.standing import agree, by_item, is_decided, says, standing, stands, told
from kramar.reviewing.tables import CategoryRow, DecisionRow, ItemRow, LearningRow, LeaseRow, ModelRow, PhotoRow


def counts(database: Database) -> Counts:
    """How many photos wait, and how many are decided."""
    with database.reading() as session:
        waiting = session.scalar(select(func.count()).select_from(ItemRow).where(~is_decided())) or 0
        held = select(func.count()).select_from(ItemRow).join(LeaseRow, LeaseRow.item_id == ItemRow.id)
        leased = session.scalar(held.where(~is_decided(), LeaseRow.until > utc())) or 0
        decided = by_item(session.scalars(standing()))
    disputed = sum(not agree(rows) for rows in decided.values())
    return Counts(waiting=waiting, leased=leased, decided=len(decided), disputed=disputed)


def waiting(database: Database) -> int:
    """How many photos wait."""
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(ItemRow).where(~is_decided())) or 0


def entries(database: Database, most: int | None = None, before: int | None = None) -> list[Entry]:
    """Who decided what, and what that is about, the newest first; those ``before`` that row, where one is named."""
    wanted = (
        select(DecisionRow, ItemRow, PhotoRow.name, stands())
        .join(ItemRow, ItemRow.id == DecisionRow.item_id)
        .join(PhotoRow, PhotoRow.id == ItemRow.photo_id)
        .order_by(DecisionRow.id.desc())
        .limit(most)
    )
    if before is not None:
        wanted = wanted.where(DecisionRow.id < before)
    with database.reading() as session:
        return [
            Entry(**dict(told(row)), image=name, predicted=item.label, stands=it_stands)
            for row, item, name, it_stands in session.execute(wanted)
        ]


def by_reviewer(database: Database) -> list[Reviewed]:
    """How much each reviewer decided, the most first."""
    how_many = func.count()
    wanted = select(DecisionRow.reviewer, how_many).where(stands()).group_by(DecisionRow.reviewer)
    with database.reading() as session:
        rows = session.execute(wanted.order_by(how_many.desc(), DecisionRow.reviewer))
        return [Reviewed(reviewer=reviewer, decided=decided) for reviewer, decided in rows]


def models(database: Database) -> list[Known]:
    """The model files that put photos into the queue, the newest first."""
    with database.reading() as session:
        return [
            Known(model=row.sha256, classes=[ClassCard(label=label, category=path) for label, path in row.classes])
            for row in session.scalars(select(ModelRow).order_by(ModelRow.added.desc(), ModelRow.sha256))
        ]


def agreement(database: Database) -> Estimate | None:
    """Of the pairs of reviewers who decided the same photo, the share that decided the same; None without any.

    Photos are the sample: one with three opinions counts as three pairs, as if they were of different photos.
    """
    with database.reading() as session:
        decided = by_item(session.scalars(standing()))
    pairs = [says(a) == says(b) for rows in decided.values() for a, b in combinations(rows, 2)]
    return wilson(sum(pairs), len(pairs)) if pairs else None


def categories(database: Database) -> list[NewCategory]:
    """Those that reviewers added, in that order."""
    with database.reading() as session:
        return [
            NewCategory(label=row.label, category=row.category, reviewer=row.reviewer, at=row.at)
            for row in session.scalars(select(CategoryRow).order_by(CategoryRow.id))
        ]


def corrections(database: Database) -> list[Correction]:
    """The photos that are decided, in the order of the queue, without those that reviewers disagree on."""
    with database.reading() as session:
        decided = by_item(session.scalars(standing()))
        rows = session.execute(
            select(ItemRow, PhotoRow, ModelRow)
            .join(PhotoRow, PhotoRow.id == ItemRow.photo_id)
            .join(ModelRow, ModelRow.sha256 == ItemRow.model)
            .where(is_decided())
            .options(undefer(ItemRow.embedding))
            .order_by(ItemRow.id)
        )
        return [
            Correction(
                photo=photo.id,
                sha256=photo.sha256,
                name=photo.name,
                path=Path(os.fsdecode(photo.place)) if photo.place else None,
                decision=decided[item.id][-1].id,
                kind=decided[item.id][-1].kind,
                label=decided[item.id][-1].label,
                predicted=item.label,
                reason=item.reason,
                model=model.sha256,
                body=model.body,
                embedding=np.frombuffer(item.embedding, "<f2"),
            )
            for item, photo, model in rows
            if agree(decided[item.id])
        ]


def content(database: Database, photo: int) -> bytes | None:
    """A photo's bytes; None where they are not kept, or not any more."""
    with database.reading() as session:
        return session.scalar(select(PhotoRow.content).where(PhotoRow.id == photo))


def note_learning(database: Database, kind: str, before: str, after: str, learnt: int) -> None:
    """Keep that a model file, by its SHA-256, became another by ``learnt`` corrections."""
    with database.writing() as session:
        session.add(LearningRow(at=utc(), kind=kind, before=before, after=after, corrections=learnt))
