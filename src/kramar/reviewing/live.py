"""The live precision of ``auto``: what spot checks of a model file's sure answers have shown."""

from __future__ import annotations

from sqlalchemy import select

from kramar.evaluation.metrics import wilson
from kramar.records import Estimate, Record
from kramar.reviewing.alarm import rings
from kramar.reviewing.database import Database
from kramar.reviewing.records import ACCEPT, BAD_PHOTO, CATEGORY, SPOT_CHECK
from kramar.reviewing.standing import agree, by_item, standing
from kramar.reviewing.tables import DecisionRow, ItemRow, ModelRow


class LivePrecision(Record):
    """What decided spot checks say of a model file's ``auto`` answers.

    Attributes:
        target: the share of them that it promises to be right, where it promises any.
        precision: of those that were checked, the share that is right; None before the first. Its interval is for
            who looks once; ``alarm`` is for who looks all the time.
        alarm: whether the precision has fallen below the target, or the answers of a category have become worse, with
            95% confidence over all looks; since the check number ``since``, in the order in which they were decided.
        category: the label whose answers raised it; empty where all together did.
        wrong: how many wrong ones each label has, the most first.
        left_out: checks that say nothing: bad photos, and those that reviewers disagree on.
        waiting: checks that nobody has decided yet.
    """

    model: str
    target: float | None
    precision: Estimate | None
    alarm: bool
    since: int | None
    category: str
    wrong: dict[str, int]
    left_out: int
    waiting: int


def live_precision(database: Database, model: str) -> LivePrecision:
    """The same of the model file with this SHA-256.

    A check counts when it is decided: what a reviewer took back and decided anew counts as it stands, where it stands.
    """
    with database.reading() as session:
        row = session.get(ModelRow, model)
        of_model = (ItemRow.model == model) & (ItemRow.reason == SPOT_CHECK)
        labels = {one.id: one.label for one in session.scalars(select(ItemRow).where(of_model))}
        rows = session.scalars(standing().join(ItemRow, ItemRow.id == DecisionRow.item_id).where(of_model))
        decided = by_item(rows)
    # In the order of their first decision.
    told = {item: rows for item, rows in decided.items() if agree(rows) and rows[0].kind != BAD_PHOTO}
    wrong = [not (rows[0].kind in (ACCEPT, CATEGORY) and rows[0].label == labels[item]) for item, rows in told.items()]
    target = None if row is None else row.precision_target
    checks = [(labels[item], error) for item, error in zip(told, wrong, strict=True)]
    raised = None if row is None or target is None else rings(checks, target, len(row.classes))
    counted: dict[str, int] = {}
    for label, error in checks:
        if error:
            counted[label] = counted.get(label, 0) + 1
    return LivePrecision(
        model=model,
        target=target,
        precision=wilson(len(wrong) - sum(wrong), len(wrong)) if wrong else None,
        alarm=raised is not None,
        since=None if raised is None else raised.check,
        category="" if raised is None else raised.category,
        wrong=dict(sorted(counted.items(), key=lambda one: (-one[1], one[0]))),
        left_out=len(decided) - len(told),
        waiting=len(labels) - len(decided),
    )
