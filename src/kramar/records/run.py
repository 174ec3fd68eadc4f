"""What a training run leaves: ``RunRecord`` is ``run.json``."""

from __future__ import annotations

from pydantic import Field

from kramar.records.record import Estimate, Record
from kramar.records.scores import (
    CalibrationBin,
    ClassScore,
    Confusion,
    DecisionScores,
    Leakage,
    Metrics,
    Mistake,
    ProductScores,
    TreeScores,
)


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

    ``key`` tells rungs of one name apart; ``seconds`` are those of the rung over all starts of the run,
    ``reached_seconds`` those of the run until it was there; ``expected_seconds`` were said before it. ``gain`` is
    against the rung before, or the one that it is a smaller copy of.
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

    Without validation photos there is neither. ``share``: of its steps; less than 1 where the user wanted an end.
    """

    number: int
    train_loss: float
    val_loss: float | None
    val_accuracy: float | None
    seconds: float
    share: float = 1.0
