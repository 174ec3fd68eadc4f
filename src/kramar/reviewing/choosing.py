"""Which photos a person is asked of: those that a model file is not sure of, and a share of those that it is."""

from __future__ import annotations

from kramar.data.split import position
from kramar.errors import InputError
from kramar.exporting import fingerprints
from kramar.records import AUTO
from kramar.reviewing.records import DOUBTFUL, SPOT_CHECK, Source
from kramar.runtime.model import Model


def source(model: Model, sha256: str) -> Source:
    """A model file with this SHA-256, as the queue knows it.

    Raises InputError where it has no decisions, so that nothing tells what to ask, and ModelFileError where it gives
    no embedding.
    """
    decisions = model.card.decisions
    if decisions is None:
        raise InputError(
            f"{model.path}: --queue asks what the model is not sure of, and it has no decisions; "
            "fit them with kramar decide"
        )
    return Source(
        sha256=sha256,
        body=fingerprints.body(model.path),
        classes={one.label: one.category for one in model.card.classes},
        precision_target=decisions.precision_target,
    )


def reason(source: Source, decision: str, sha256: str, share: float) -> str | None:
    """Why a person is asked of a photo of this content, DOUBTFUL or SPOT_CHECK; None where nobody is.

    ``share`` of the ``auto`` photos are checked: by the photo, not by a draw, so that the same photos once more are
    the same share.
    """
    if decision != AUTO:
        return DOUBTFUL
    return SPOT_CHECK if position(f"spot check\0{source.sha256}\0{sha256}", 0) < share else None
