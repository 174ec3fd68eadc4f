"""What goes into the review queue, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kramar.records import ClassCard, Prediction, Ranked, Record

Embedding = npt.NDArray[np.float16]

# The queue's file beside a model file, where no other place is named.
NAME = "review.sqlite"
# What a reviewer decides of a photo; and what takes a decision back.
ACCEPT, CATEGORY, UNKNOWN_THING, BAD_PHOTO, UNDO = "accept", "category", "unknown", "bad photo", "undo"
KINDS = (ACCEPT, CATEGORY, UNKNOWN_THING, BAD_PHOTO)
# Why a photo is in the queue: the model was not sure of it, or it is one of those that check what the model is sure of.
DOUBTFUL, SPOT_CHECK = "doubtful", "spot check"


@dataclass(frozen=True, slots=True)
class Source:
    """The model file that puts photos into the queue.

    Attributes:
        sha256: of the file.
        body: names what gives its embeddings (`exporting.body`).
        classes: its labels with their categories.
        precision_target: what it promises of ``auto``, where it promises anything.
    """

    sha256: str
    body: str
    classes: dict[str, str]
    precision_target: float | None


@dataclass(frozen=True, slots=True)
class Doubt:
    """A photo for the queue.

    Attributes:
        sha256: of its bytes.
        prediction: what the model said; ``image`` is the name that people know it by.
        embedding: what the model saw, ``[D]``.
        reason: DOUBTFUL or SPOT_CHECK.
        path: where its file is, if it is one.
        content: its bytes, where they are to be kept.
    """

    sha256: str
    prediction: Prediction
    embedding: npt.NDArray[np.floating]
    reason: str
    path: Path | None = None
    content: bytes | None = None


class Item(Record):
    """A photo for a person to decide; ``until``, when it may go to somebody else, where one reviewer alone has it."""

    id: int
    image: str
    sha256: str
    label: str
    probability: float
    category: str
    decision: str
    unknown_score: float | None
    set: list[str]
    top: list[Ranked]
    model: str
    until: datetime | None = None


class Decided(Record):
    """A row of the history: who decided what of which item, when; ``undoes``, the row that it takes back."""

    id: int
    item: int
    reviewer: str
    at: datetime
    kind: str
    label: str
    undoes: int | None = None


class Entry(Decided):
    """A row of the history with the photo's name and what the model said; ``stands`` unless somebody took it back."""

    image: str
    predicted: str
    stands: bool


class Reviewed(Record):
    """How many of a reviewer's decisions stand."""

    reviewer: str
    decided: int


class Known(Record):
    """A model file that put photos into the queue, and what it knows."""

    model: str
    classes: list[ClassCard]


class Counts(Record):
    """How many photos are in the queue, by what is known of them.

    ``disputed`` are those of which reviewers decided different things; they are ``decided`` as well, and ``leased`` are
    ``waiting`` as well.
    """

    waiting: int
    leased: int
    decided: int
    disputed: int


class NewCategory(Record):
    """A category that a reviewer added."""

    label: str
    category: str
    reviewer: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Correction:
    """A photo that reviewers agree on.

    Attributes:
        decision: the last row of the history that it rests on.
        kind: ACCEPT, CATEGORY, UNKNOWN_THING or BAD_PHOTO; ``label``, the class that it shows, empty for the last two.
        predicted: what the model said.
        model: SHA-256 of that model's file; ``body``, what gave the ``embedding``.
        photo: by which `findings.content` finds its bytes, where they are kept.
    """

    photo: int
    sha256: str
    name: str
    path: Path | None
    decision: int
    kind: str
    label: str
    predicted: str
    reason: str
    model: str
    body: str
    embedding: Embedding
