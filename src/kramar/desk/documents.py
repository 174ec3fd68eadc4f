"""What the desk is sent, and what it answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from kramar.records import ClassCard, Estimate, Record
from kramar.reviewing.live import LivePrecision
from kramar.reviewing.records import Counts, Decided, Entry, Item, Known, NewCategory, Reviewed

MOST = 100
# What PostgreSQL's integers hold: a larger number is none of an item or decision.
BIGGEST = 2**31 - 1
_Id = Annotated[int, Field(ge=1, le=BIGGEST)]


class Asked(BaseModel):
    """What is sent: nothing but what is named.

    ``reviewer`` is who decides, where the desk has no keys; with keys, it is the key's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reviewer: str = Field("", max_length=1000)


class Claim(Asked):
    """Photos are wanted; ``second`` asks for those that others decided."""

    most: int = Field(12, ge=1, le=MOST)
    second: bool = False


class Decision(Asked):
    """What is decided of a photo; ``label`` is needed of a category.

    ``sha256`` is that of the photo that was looked at: where it is given, nothing is decided of another one, which may
    have got the item's number since.
    """

    item: _Id
    kind: Literal["accept", "category", "unknown", "bad photo"]
    label: str = Field("", max_length=4096)
    sha256: str = Field("", max_length=64)
    second: bool = False


class Undo(Asked):
    """A decision is taken back, by its number."""

    decision: _Id


class Category(Asked, ClassCard):
    """A category is added that no model has; ``category`` is its path, with ``/``."""

    label: str = Field(max_length=4096)
    category: str = Field(max_length=4096)


class Desk(Record):
    """The desk: who asks (empty where it has no keys), and the command that makes the model learn."""

    reviewer: str
    learn: str


class Claimed(Record):
    """The photos that the reviewer has now, and how many there are; ``seconds`` could have their second opinion."""

    items: list[Item]
    counts: Counts
    seconds: int


class Undone(Record):
    """The row that takes a decision back, and the photo, which the reviewer has again.

    ``second``: others have decided it too, and a new decision is a second opinion.
    """

    undo: Decided
    item: Item
    second: bool


class Categories(Record):
    """What may be picked: of a photo, what the model knows that put it into the queue, and what reviewers added."""

    models: list[Known]
    added: list[NewCategory]


class Live(LivePrecision):
    """The live precision of a model file; ``current`` is the one that is there now."""

    current: bool


class Standing(Record):
    """What the review has come to."""

    counts: Counts
    reviewers: list[Reviewed]
    agreement: Estimate | None
    live: list[Live]
    learn: str


class History(Record):
    """Who decided what, the newest first; ``before``, where older rows go on, or None."""

    entries: list[Entry]
    before: int | None


class Released(Record):
    """Others may have the reviewer's photos."""

    released: bool = True
