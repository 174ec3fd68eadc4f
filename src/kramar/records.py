"""What the rooms hand to each other and leave behind: typed, frozen, and the same in Python and in JSON.

``RunRecord`` is ``run.json``; ``ModelCard`` is the document ``kramar`` in a model file's metadata.
Keys that DESIGN promises keep their names and meaning; new ones may be added.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

CARD_SCHEMA = 1


def writable(text: str) -> str:
    r"""``text`` as any file can hold it: what a file's name has beside UTF-8 is escaped (``caf\udce9.jpg``)."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


# What is done with an answer: it is given, or a category above it is; or a person decides, who is told where a photo
# seems to show none of the categories.
AUTO, COARSE, REVIEW, UNKNOWN = "auto", "coarse", "review", "unknown"


def percent(share: float) -> str:
    """``0.98`` as ``98%``, ``0.995`` as ``99.5%``."""
    return f"{100 * share:.6g}%"


class Record(BaseModel):
    """A frozen document; unknown keys of a newer kramar are kept out of the way, not refused.

    Its text is `writable`, so that it is the same in Python as in every file that it is written to.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _make_writable(cls, found: Any) -> Any:
        return _with_writable_text(found)


def _with_writable_text(found: Any) -> Any:
    if isinstance(found, str):
        return writable(found)
    if isinstance(found, dict):
        return {_with_writable_text(key): _with_writable_text(value) for key, value in found.items()}
    return [_with_writable_text(value) for value in found] if isinstance(found, list) else found


class Estimate(Record):
    """A figure with its 95% interval.

    ``n`` counts the photos behind it; ``low`` and ``high`` bound it in the figure's own unit.
    """

    value: float
    low: float
    high: float
    n: int

    def percent(self) -> str:
        """``74.2% (95% interval 72.4 to 75.9, n = 2,485)``."""
        return f"{self.value:.1%} (95% interval {100 * self.low:.1f} to {100 * self.high:.1f}, n = {self.n:,})"


class Metrics(Record):
    """The scores of one model on one set of photos. Shares are in [0, 1], ``log_loss`` in nats."""

    accuracy: Estimate
    top5: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    log_loss: Estimate
    calibration_error: Estimate


class ClassScore(Record):
    """One class: its photos by part and how it does on the scored part (None where it has no photo there)."""

    label: str
    category: str
    photos: dict[str, int]
    recall: Estimate | None
    precision: Estimate | None
    f1: float | None


class Confusion(Record):
    """``count`` of the ``of`` photos of ``truth`` were called ``predicted``."""

    truth: str
    predicted: str
    count: int
    of: int


class Mistake(Record):
    """A wrong answer and how sure the model was of it (probability in [0, 1])."""

    image: str
    truth: str
    predicted: str
    probability: float


class CalibrationBin(Record):
    """One of the equal-mass bins: mean top-label probability, share that was right, photos."""

    confidence: float
    accuracy: float
    n: int


class LeftOut(Record):
    """Something in the data that is not trained or scored on, and why."""

    image: str
    kind: str
    detail: str


class DataRecord(Record):
    """The data of a run: photos used, classes, what was left out (by kind, and listed).

    ``aside`` is how many of the validation photos chose nothing, and show what is promised.
    """

    source: str
    photos: int
    classes: int
    fingerprint: str
    split: dict[str, int]
    split_from: str
    aside: int = 0
    left_out: dict[str, int]
    left_out_files: list[LeftOut] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)


class ModelRecord(Record):
    """The model file: its size in bytes, origin, and speed in milliseconds a photo (decoding excluded) in ONNX Runtime.

    ``openvino_milliseconds``: the same in OpenVINO, where that was there to measure it.
    """

    file: str
    bytes: int
    sha256: str
    backbone: str
    rung: str
    storage: str
    parameters: int
    milliseconds: float
    openvino_milliseconds: float | None = None
    input_size: int
    weights_source: str
    weights_licence: str


class Trial(Record):
    """One regularisation tried for the head, and its log loss (nats) where choices are made."""

    regularisation: float
    class_weight: str
    log_loss: float
    accuracy: float


class HeadRecord(Record):
    """How the head was chosen: inverse regularisation strength C, class weights, on which photos."""

    regularisation: float
    class_weight: str
    chosen_on: str
    temperature: float
    trials: list[Trial]


class Gain(Record):
    """Test accuracy of a rung's model minus that of ``rung``'s on the same photos, and whether that is chance.

    ``p`` is of an exact paired test; ``adjusted`` after Holm's correction for all rungs of the run.
    """

    rung: str
    difference: Estimate
    p: float
    adjusted: float = 1.0


class Rung(Record):
    """One rung of the ladder: what it cost, what it gave, whether its model was kept and why.

    ``key`` tells rungs of one name apart; ``reached_seconds`` are those of all rungs up to it, ``expected_seconds``
    were said before it. ``gain`` is against the rung before, or the one that it is a smaller copy of.
    """

    rung: str
    key: str = ""
    backbone: str = ""
    storage: str = "float32"
    how: str = ""
    seconds: float
    expected_seconds: float = 0.0
    reached_seconds: float = 0.0
    val_accuracy: Estimate | None
    test_accuracy: Estimate | None = None
    gain: Gain | None = None
    bytes: int
    milliseconds: float
    openvino_milliseconds: float | None = None
    kept: bool
    why: str


class SkippedRung(Record):
    """A rung that was not climbed; ``key`` tells those of one name apart."""

    rung: str
    key: str
    why: str


class Verification(Record):
    """The exported file against its source: photos compared, labels that differ, largest difference."""

    photos: int
    label_differences: int
    largest_difference: float


class CurvePoint(Record):
    """Of the answers of at least ``threshold``: their share of all photos, and the share of them that is right."""

    threshold: float
    coverage: float
    precision: float


class DecisionScores(Record):
    """What a model file's decisions did on labelled photos.

    Attributes:
        precision_target: what was promised of ``auto`` answers; ``guaranteed``, or estimated.
        coverage: the share of photos that is ``auto``, and needs no person; ``precision``, of those that are right.
        coarse: the share that is ``coarse``; ``coarse_precision``, of those that are right; ``coarse_levels``, how many
            were answered at each level, the first of them 1.
        unknown: the share that is ``unknown``; None where the model does not tell. ``unknown_false``, the share of the
            photos of its classes that is; ``unknown_found``, of the photos of other labels, where there are any.
        set_target: what was promised of sets; ``set_coverage``, the share that holds the true class; ``set_size``, how
            many classes one has on average.
        set_by_class: the same share of each class that has photos, by its label.
        curve: what other thresholds would do, the strictest first.
        needed: about how many labelled photos would show a guarantee, where there is none and that can be told.
    """

    precision_target: float
    guaranteed: bool
    threshold: float | None
    coverage: Estimate
    precision: Estimate | None
    coarse: Estimate
    coarse_precision: Estimate | None
    coarse_levels: dict[str, int]
    unknown: Estimate | None = None
    unknown_false: Estimate | None = None
    unknown_found: Estimate | None = None
    set_target: float
    set_coverage: Estimate | None
    set_size: float | None
    set_by_class: dict[str, Estimate] = Field(default_factory=dict)
    curve: list[CurvePoint]
    needed: int | None = None

    @property
    def missed(self) -> bool:
        """Whether these photos show that what was promised is not kept."""
        return self.precision is not None and self.precision.high < self.precision_target

    def no_person(self) -> str:
        """How many photos need no person, and how sure that is, in words."""
        target = percent(self.precision_target)
        if self.threshold is None:
            return f"No answer is sure enough for {target} precision"
        if self.missed and self.precision:
            return (
                f"{self.coverage.value:.0%} of photos get an answer without a person, of which "
                f"{self.precision.value:.1%} were right: less than the {target} that was asked for"
            )
        how = "guaranteed with 95% confidence" if self.guaranteed else "estimated"
        return f"{self.coverage.value:.0%} of photos need no person, at {target} precision ({how})"

    def more_photos(self) -> str:
        """What it would take to promise more; nothing where that is done, or cannot be told."""
        if self.guaranteed or self.needed is None:
            return ""
        return f"About {self.needed:,} labelled photos that it has not seen could show a guarantee (kramar decide)"


class Leakage(Record):
    """What copies of test photos among the others do to a model's accuracy.

    Attributes:
        photos: test photos that have a copy in training or validation.
        accuracy: on all test photos.
        without: on those without such a copy; None where each has one.
    """

    photos: int
    accuracy: Estimate
    without: Estimate | None


class LevelScore(Record):
    """One level of the category tree, the top is 1: how many categories the model has there, answers that are right."""

    level: int
    categories: int
    accuracy: Estimate


class TreeScores(Record):
    """What answers are worth at each level of the category tree, and how far off mistakes are.

    Attributes:
        levels: from the top to the classes themselves.
        distance: of mistakes, on average: levels from truth or answer up to the category that holds both; ``n`` counts
            the mistakes. None without any.
        chance_distance: the same of answers that are drawn from all other classes.
    """

    levels: list[LevelScore]
    distance: Estimate | None
    chance_distance: float | None


class ProductScores(Record):
    """What one answer a product, by all of its scored photos, is worth.

    Attributes:
        metrics: as of photos, but a product counts once, and ``n`` counts products.
        photos: how many the products have together; ``several``, how many of the products have more than one.
        left_out: products whose photos carry different labels, so that none is the right answer.
    """

    metrics: Metrics
    photos: int
    several: int
    left_out: int


class RunRecord(Record):
    """``run.json``: every figure that the report shows.

    ``decisions`` are measured on test photos; null without any. ``uncalibrated_error`` is what the calibration error of
    the part that ``calibration`` shows would be without a temperature. ``issues`` counts what the photos were found to
    have wrong with them, by kind; ``leakage`` is null where no test photo has a copy elsewhere. ``tree`` and
    ``products`` are of the photos that ``classes`` are scored on; null where there is no tree, or no product with
    several photos.
    """

    kramar: str
    command: str
    started: str
    seed: int
    machine: dict[str, str | int]
    data: DataRecord
    model: ModelRecord
    head: HeadRecord
    metrics: dict[str, Metrics]
    classes: list[ClassScore]
    confusions: list[Confusion]
    mistakes: list[Mistake]
    calibration: list[CalibrationBin]
    uncalibrated_error: Estimate | None = None
    verification: Verification
    ladder: list[Rung]
    skipped: list[SkippedRung] = Field(default_factory=list)
    limits: dict[str, float] = Field(default_factory=dict)
    seconds: dict[str, float | dict[str, float]]
    rates: dict[str, float]
    features: dict[str, str | int]
    decisions: DecisionScores | None = None
    issues: dict[str, int] = Field(default_factory=dict)
    leakage: Leakage | None = None
    tree: TreeScores | None = None
    products: ProductScores | None = None
    peak_memory_bytes: int


class Epoch(Record):
    """One pass over the training photos: mean loss of its steps, then loss (nats) and accuracy on validation.

    Without validation photos there is neither.
    """

    number: int
    train_loss: float
    val_loss: float | None
    val_accuracy: float | None
    seconds: float


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
        return f"{self.size}px-crop{self.crop:g}-{self.filter}-v1"


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
    unknown_above: float | None = None
    set_coverage: float
    set_least: float | None = None
    set_least_by_class: list[float | None] = Field(default_factory=list)


class ModelCard(Record):
    """The document ``kramar`` in a model file's metadata.

    ``ties`` are the near twins that its split kept together, by the first 12 digits of their hashes: with them, the
    split can be repeated without looking for twins. ``aside`` is how many validation photos chose nothing.
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
