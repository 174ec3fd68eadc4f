"""What the service answers."""

from __future__ import annotations

from kramar.records import ClassCard, Decisions, Metrics, Prediction, Record
from kramar.serving.live_model import Opened


class Predictions(Record):
    """A prediction for each photo of the request, in its order; one that cannot be read has ``error``."""

    predictions: list[Prediction]


class Provenance(Record):
    """Where the model is from: what it was trained on (fingerprint, photos of each part), and how."""

    sha256: str
    kramar: str
    backbone: str
    rung: str
    storage: str
    data_fingerprint: str
    seed: int
    split: dict[str, int]
    weights_source: str
    weights_licence: str


class ModelDescription(Record):
    """The model that answers.

    ``metrics`` are by part of the data; ``decisions`` are None where the file has none.
    """

    classes: list[ClassCard]
    decisions: Decisions | None
    metrics: dict[str, Metrics]
    size: int
    loaded: float
    provenance: Provenance

    @staticmethod
    def of(opened: Opened) -> ModelDescription:
        """What an open model's card says that its users need."""
        card = opened.model.card
        provenance = {name: getattr(card, name) for name in Provenance.model_fields if name != "sha256"}
        return ModelDescription(
            classes=card.classes,
            decisions=card.decisions,
            metrics=card.metrics,
            size=card.resize.size,
            loaded=opened.since,
            provenance=Provenance(sha256=opened.sha256, **provenance),
        )


class Health(Record):
    """The process lives."""

    status: str = "ok"


class Readiness(Record):
    """Photos are answered, by the model file with this SHA-256.

    ``reload_problem`` says why a newer file was refused; empty where it was not.
    """

    ready: bool
    sha256: str
    reload_problem: str
