"""What a model file says of itself (``ModelCard`` is the document ``kramar`` in its metadata), and of photos."""

from __future__ import annotations

import PIL
from pydantic import Field

from kramar.records.record import Record
from kramar.records.scores import Metrics

CARD_SCHEMA = 1
# What is done with an answer: it is given, or a category above it is; or a person decides, who is told where a photo
# seems to show none of the categories.
AUTO, COARSE, REVIEW, UNKNOWN = "auto", "coarse", "review", "unknown"


class ResizeRule(Record):
    """How a photo becomes the model's input (``data/pixels.py`` is the code).

    The centre square whose side is ``crop`` times the short side, resized to ``size`` x ``size`` pixels
    with Pillow's ``filter``.
    """

    size: int
    crop: float
    filter: str

    @property
    def key(self) -> str:
        """A short name that changes with anything that changes pixels."""
        # Pillow resizes rectangles otherwise from some versions on.
        return f"{self.size}px-crop{self.crop:g}-{self.filter}-pillow{PIL.__version__}"


class ClassCard(Record):
    """A class of a model file, in the order of its outputs."""

    label: str
    category: str


class Promise(Record):
    """From which probability on answers are given, so that the promised share of them is right.

    ``guaranteed`` with 95% confidence by photos that chose nothing, or only estimated; ``photos`` it was fitted on, and
    ``needed`` about how many it would take to show it, where that can be told. No ``threshold``: none could be found.
    """

    threshold: float | None = None
    guaranteed: bool = False
    photos: int = 0
    needed: int | None = None


class Decisions(Record):
    """What a model file does with its answers: ``auto`` for a class, ``coarse`` for a category above it.

    Attributes:
        precision_target: the share of answers that is promised to be right, in (0, 1).
        auto, coarse: from where on.
        auto_by_class: the same for answers of each class, where it was asked to be promised of each alone; None where
            nothing was shown of a class, whose answers a person sees. ``auto`` then has the lowest of them.
        unknown_above: from where on a photo shows none of the classes, by its unknown score; None where photos were too
            few to tell, or the file has no such score.
        set_coverage: the share of sets that is promised to hold the true class.
        set_least: from which probability on a class belongs to a set; None where photos were too few to tell.
        set_least_by_class: the same of each class by its own photos, where that was asked for; None where they were too
            few, so that ``set_least`` goes for it.
    """

    precision_target: float
    auto: Promise
    coarse: Promise
    auto_by_class: list[float | None] = Field(default_factory=list)
    unknown_above: float | None = None
    set_coverage: float
    set_least: float | None = None
    set_least_by_class: list[float | None] = Field(default_factory=list)


class ModelCard(Record):
    """The document ``kramar`` in a model file's metadata.

    ``ties`` are the near twins that its split kept together, by the first 12 digits of their hashes: with them, the
    split can be repeated without looking for twins. ``aside`` is how many validation photos chose nothing,
    ``corrections`` from how many photos that people decided its last layer has learnt since. ``learnt`` are the
    smallest of such digits of the training and validation photos, a sample by which data that has some of them is known
    again.
    """

    schema_version: int = CARD_SCHEMA
    kramar: str
    classes: list[ClassCard]
    resize: ResizeRule
    temperature: float
    backbone: str
    rung: str
    storage: str
    metrics: dict[str, Metrics]
    data_fingerprint: str
    seed: int
    split: dict[str, int]
    weights_source: str
    weights_licence: str
    decisions: Decisions | None = None
    ties: list[list[str]] = Field(default_factory=list)
    aside: int = 0
    corrections: int = 0
    learnt: list[str] = Field(default_factory=list)


class Ranked(Record):
    """One of the most probable labels of a photo."""

    label: str
    probability: float


class Prediction(Record):
    """What the model says of one photo; where it cannot be read, ``error`` says why and the rest is empty.

    ``decision``, ``set`` and ``unknown_score`` are filled by model files that carry decisions.
    """

    image: str
    label: str = ""
    probability: float | None = None
    category: str = ""
    decision: str = ""
    set: list[str] = Field(default_factory=list)
    unknown_score: float | None = None
    error: str = ""
    top: list[Ranked] = Field(default_factory=list)
