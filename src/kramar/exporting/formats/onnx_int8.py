"""A model file in int8: a quarter of the bytes. Where that keeps its labels, it computes in int8, too."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from kramar.data.pixels import Pixels
from kramar.errors import ExportError, InputError
from kramar.exporting import on_logits, onnx_file, storage
from kramar.exporting.exported import Format, Said, Source, compared
from kramar.exporting.storage import AGREEMENT, EXACT
from kramar.records import ModelCard
from kramar.runtime.model import Model

_FILE = "model.onnx"


def _write(source: Source, folder: Path) -> ModelCard:
    card = source.model.card
    if card.storage != "float32":
        raise InputError(
            f"{source.model.path}: expected weights stored as float32, found {card.storage}; "
            "export a float32 file, such as models/tail.onnx in its run"
        )
    photos = [source.photos[place] for place in storage.calibrating(len(source.photos))]
    target, card, best = folder / _FILE, _of_the_copy(card), 0.0
    with tempfile.TemporaryDirectory() as place:
        network = Path(place) / "network.onnx"
        on_logits.without(source.model.path, network)
        for how, make in _ways(photos):
            make(network, target)
            on_logits.put_back(source.model.path, target)
            onnx_file.describe(target, card, target)
            found = compared(source, _opened(folder))
            agreement = 1 - found.label_differences / found.photos
            source.progress.say(f"{how}: its labels agree on {agreement:.1%} of {found.photos:,} photos")
            if agreement >= AGREEMENT:
                return card
            best = max(best, agreement)
    raise ExportError(
        f"{source.model.path}: no int8 copy gives its labels on {AGREEMENT:.0%} of {len(source.photos):,} photos, the "
        f"best on {best:.1%}; none was kept. Give more photos, such as the model will see, or let kramar train make a "
        "smaller file (--max-size)"
    )


def _ways(photos: Sequence[Pixels]) -> Iterator[tuple[str, Callable[[Path, Path], None]]]:
    """How copies are made, those first that are preferred."""
    for exact in EXACT:
        left = f", the first {exact} convolutions float32" if exact else ""
        yield f"int8{left}", partial(storage.int8_onnxruntime, photos=photos, exact=exact)
    yield "int8 weights, float32 arithmetic", storage.int8_weights


def _of_the_copy(card: ModelCard) -> ModelCard:
    """What is true of a copy with rounded scores: nothing was measured of it, and what is promised is an estimate."""
    decisions = card.decisions
    if decisions is not None:
        auto, coarse = (one.model_copy(update={"guaranteed": False}) for one in (decisions.auto, decisions.coarse))
        decisions = decisions.model_copy(update={"auto": auto, "coarse": coarse})
    return card.model_copy(update={"storage": "int8", "metrics": {}, "decisions": decisions})


def _opened(folder: Path) -> Said:
    return Model(folder / _FILE).scores


FORMAT = Format(
    "onnx-int8", "a model file in int8, a quarter of the bytes", _write, _opened, agreement=AGREEMENT, measures=True
)
