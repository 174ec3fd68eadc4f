"""What models do on labelled photos."""

from __future__ import annotations

from pydantic import Field

from kramar.records.record import Estimate, Record, percent


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
        by_class: whether the promise is one of each class alone.
        precision_by_class: of the ``auto`` answers of each class that has any, the share that is right, by its label.
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
    by_class: bool = False
    precision_by_class: dict[str, Estimate] = Field(default_factory=dict)
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

    @property
    def review(self) -> float:
        """The share of photos that a person decides."""
        n = self.coverage.n
        shares = [one.value for one in (self.coverage, self.coarse, self.unknown) if one]
        return (n - sum(round(n * share) for share in shares)) / n

    def no_person(self) -> str:
        """How many photos need no person, and how sure that is, in words."""
        target = percent(self.precision_target)
        if self.threshold is None:
            above = f"; {self.coarse.value:.0%} of photos get a category above theirs" if self.coarse.value else ""
            return f"No answer is sure enough for {target} precision{above}"
        if self.missed and self.precision:
            return (
                f"{self.coverage.value:.0%} of photos get an answer without a person, of which "
                f"{self.precision.value:.1%} were right: less than the {target} that was asked for"
            )
        how = "guaranteed with 95% confidence" if self.guaranteed else "estimated"
        each = " of each category" if self.by_class else ""
        return f"{self.coverage.value:.0%} of photos need no person, at {target} precision{each} ({how})"

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
