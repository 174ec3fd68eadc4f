"""What the service answers."""

from __future__ import annotations

import base64

from pydantic import Field

from kramar.records import ClassCard, Decisions, Metrics, Prediction, Record
from kramar.runtime.model import Answer
from kramar.serving.live_model import Opened
from kramar.serving.settings import Limits


class Predictions(Record):
    """A prediction for each photo of the request, in its order; one that cannot be read has ``error``."""

    predictions: list[Prediction]


class ExplainedPrediction(Prediction):
    """A prediction and where its label was seen."""

    heat_map: str = Field(
        "",
        description="A JPEG of the square that the model looks at, with where it saw the label over it, in Base64; "
        "empty where there is an error.",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/jpeg"},
    )


class ExplainedPredictions(Record):
    """As `Predictions`, each with its heat map."""

    predictions: list[ExplainedPrediction]


def row(prediction: Prediction, answer: Answer) -> Prediction:
    """What is answered of a photo."""
    if not answer.heat_map:
        return prediction
    return ExplainedPrediction(**dict(prediction), heat_map=base64.b64encode(answer.heat_map).decode())


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


class RequestLimits(Record):
    """What one request may have: bytes, photos, and pixels of each."""

    body: int
    pixels: int
    photos: int


class ModelDescription(Record):
    """The model that answers.

    ``metrics`` are by part of the data; ``decisions`` are None where the file has none; ``heat_maps`` says whether they
    can be asked for; ``limits`` are the service's.
    """

    classes: list[ClassCard]
    decisions: Decisions | None
    metrics: dict[str, Metrics]
    size: int
    heat_maps: bool
    limits: RequestLimits
    loaded: float
    provenance: Provenance

    @staticmethod
    def of(opened: Opened, limits: Limits) -> ModelDescription:
        """What an open model's card says that its users need."""
        card = opened.model.card
        provenance = {name: getattr(card, name) for name in Provenance.model_fields if name != "sha256"}
        return ModelDescription(
            classes=card.classes,
            decisions=card.decisions,
            metrics=card.metrics,
            size=card.resize.size,
            heat_maps=opened.heat_maps is not None,
            limits=RequestLimits(body=limits.body, pixels=limits.pixels, photos=limits.photos),
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
