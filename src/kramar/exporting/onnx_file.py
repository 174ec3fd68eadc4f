"""One ``model.onnx``, nothing beside it: pixels in, calibrated probabilities out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from kramar.data.listing import Photo
from kramar.decisions.unknowns import LEAST_LENGTH, Familiar
from kramar.errors import ExportError
from kramar.files import replacing
from kramar.models.linear import Linear
from kramar.progress import Progress
from kramar.records import ModelCard, Verification
from kramar.runtime.model import Model
from kramar.runtime.session import Scores

# What a float32 file may differ from its source in any probability.
TOLERANCE = 1e-4
OUTPUTS = ("probabilities", "logits", "embedding", "unknown_score", "feature_map")


def write(
    converted: Path,
    head: Linear,
    card: ModelCard,
    path: Path,
    photos: Sequence[Photo],
    source: npt.NDArray[np.floating],
    progress: Progress,
    *,
    weights: Mapping[str, npt.NDArray[np.float32]] | None = None,
) -> Verification:
    """Write the model file and verify it on ``photos``, whose source probabilities are ``source`` ``[N, C]``.

    ``weights`` take the place of those of the same names in the converted backbone, where it was trained further. The
    file takes ``path``'s place only when it gives the source's label on every photo (a tie within the tolerance has
    no label to give) and every probability within 1e-4. Raises ExportError otherwise.
    """
    with replacing(path) as temporary:
        if weights is not None:
            from kramar.models.onnx_graph import set_weights

            set_weights(converted, temporary, weights)
        _put_head(converted if weights is None else temporary, head, temporary)
        finish(temporary, card)
        return verify(Model(temporary), photos, source, progress)


def verify(model: Model, photos: Sequence[Photo], source: npt.NDArray[np.floating], progress: Progress) -> Verification:
    """Compare ``model``'s probabilities on ``photos`` with ``source`` ``[N, C]``. Raises ExportError."""
    exported: list[Scores] = []
    with progress.stage("Verifying the model file", len(photos)) as advance:
        for _, found in model.stream_scores(photos):
            if isinstance(found, Exception):
                raise ExportError(f"a photo that was readable before is not any more ({found}); run the command again")
            exported.append(found)
            advance(1)
    if not exported:
        return Verification(photos=0, label_differences=0, largest_difference=0.0)
    ours = np.stack(exported)
    if ours.shape[1] != len(model.classes):
        raise ExportError(
            f"the exported file tells {ours.shape[1]} classes apart and names {len(model.classes)}; it was not kept. "
            "Please report this"
        )
    difference = float(np.abs(ours - source).max())
    two_best = np.sort(source, axis=1)[:, -2:]
    tied = two_best[:, 1] - two_best[:, 0] <= TOLERANCE
    differing = int(((ours.argmax(axis=1) != source.argmax(axis=1)) & ~tied).sum())
    if differing or not difference <= TOLERANCE:  # a difference that is no number is too large
        raise ExportError(
            f"the exported file differs from its source on {differing} of {len(ours)} labels and by up to "
            f"{difference:.2g} in probability (at most {TOLERANCE:g}); it was not kept. Please report this"
        )
    return Verification(photos=len(ours), label_differences=differing, largest_difference=difference)


def require_same(again: Scores, judged: Scores) -> None:
    """Raise ExportError where a smaller file, opened again, does not give exactly the scores it was judged on."""
    if not np.array_equal(again, judged):
        raise ExportError(
            "the smaller file gives other scores when it is opened again "
            f"(by up to {np.abs(again - judged).max():.2g}); it was not kept. Please report this"
        )


def finish(path: Path, card: ModelCard) -> None:
    """Turn the graph at ``path``, which has the output ``logits`` ``[N, C]``, into a model file with ``card``."""
    model = onnx.load(path)
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array(card.temperature, np.float32), "temperature"))
    graph.node.extend(
        [
            helper.make_node("Div", ["logits", "temperature"], ["calibrated_logits"], "calibrate"),
            helper.make_node("Softmax", ["calibrated_logits"], ["probabilities"], "softmax", axis=1),
        ]
    )
    outputs = {output.name: output for output in graph.output}
    for name in ("probabilities", "logits"):
        outputs[name] = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", len(card.classes)])
    del graph.output[:]
    graph.output.extend(outputs[name] for name in OUTPUTS if name in outputs)
    graph.name = "kramar"
    model.producer_name, model.producer_version = "kramar", card.kramar
    del model.metadata_props[:]
    # The exporter's notes on each node name source files of the machine that made them.
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del graph.value_info[:]
    helper.set_model_props(model, {"kramar": card.model_dump_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _put_head(converted: Path, head: Linear, path: Path) -> None:
    model = onnx.load(converted)
    model.graph.initializer.extend(
        [numpy_helper.from_array(head.weights, "head.weight"), numpy_helper.from_array(head.bias, "head.bias")]
    )
    gemm = helper.make_node("Gemm", ["embedding", "head.weight", "head.bias"], ["logits"], "head")
    model.graph.node.append(gemm)
    model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(head.bias)]))
    onnx.save(model, path)


def read_head(path: Path) -> Linear:
    """The layer on top of the model file at ``path``, which `write` wrote."""
    stored = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    return Linear(*(numpy_helper.to_array(stored[name]) for name in ("head.weight", "head.bias")))


def read_weights(path: Path, prefix: str) -> dict[str, npt.NDArray[np.float32]]:
    """The weights in the model file at ``path`` whose names start with ``prefix``, without it."""
    return {
        tensor.name.removeprefix(prefix): numpy_helper.to_array(tensor)
        for tensor in onnx.load(path).graph.initializer
        if tensor.name.startswith(prefix)
    }


def describe(path: Path, card: ModelCard, target: Path, familiar: Familiar | None = None) -> None:
    """Write the model file at ``path`` to ``target`` with another ``card``, by whose temperature it computes.

    With ``familiar``, it gets the output ``unknown_score``, float32 ``[N]``.
    """
    model = onnx.load(path)
    stored = next(one for one in model.graph.initializer if one.name == "temperature")
    stored.CopyFrom(numpy_helper.from_array(np.array(card.temperature, np.float32), "temperature"))
    if familiar is not None:
        tell_unknown(model.graph, familiar, card.temperature)
    helper.set_model_props(model, {"kramar": card.model_dump_json()})
    onnx.checker.check_model(model)
    with replacing(target) as temporary:
        onnx.save(model, temporary)


def tell_unknown(graph: Any, familiar: Familiar, temperature: float) -> None:
    """`Familiar`'s formula as nodes; the temperature is the one it was fitted with, whatever the file's becomes."""
    stored = {
        **{field.name: getattr(familiar, field.name) for field in fields(familiar)},
        "temperature": np.array(temperature, np.float32),
        "one": np.array(1, np.float32),
        "least": np.array(LEAST_LENGTH, np.float32),
        "axis": np.array([1], np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(value, f"unknown.{name}") for name, value in stored.items())
    summed = {"keepdims": 0}
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Sub", ["embedding", "centre"], "centred", {}),
        ("Mul", ["centred", "scale"], "x", {}),
        ("ReduceSumSquare", ["x", "axis"], "length", summed),
        ("Max", ["length", "least"], "whole", {}),
        ("Cast", ["directions"], "basis", {"to": TensorProto.FLOAT}),
        ("MatMul", ["x", "basis"], "z", {}),
        ("ReduceSumSquare", ["z", "axis"], "inside", summed),
        ("Div", ["inside", "whole"], "share", {}),
        ("Sub", ["one", "share"], "new", {}),
        ("Mul", ["new", "gain"], "weighed", {}),
        ("Sub", ["weighed", "rare"], "beyond", {}),
        ("Relu", ["beyond"], "strange", {}),
        ("Div", ["logits", "temperature"], "tempered", {}),
        ("Softmax", ["tempered"], "said", {"axis": 1}),
        ("ReduceMax", ["said", "axis"], "confidence", summed),
        ("Sub", ["one", "confidence"], "doubt", {}),
        ("Add", ["doubt", "strange"], "unknown_score", {}),
    ]
    own = {"embedding", "logits", "unknown_score"}
    for kind, takes, gives, options in steps:
        names = [name if name in own else f"unknown.{name}" for name in (*takes, gives)]
        graph.node.append(helper.make_node(kind, names[:-1], names[-1:], f"unknown.{gives}.node", **options))
    outputs = {output.name: output for output in graph.output}
    outputs["unknown_score"] = helper.make_tensor_value_info("unknown_score", TensorProto.FLOAT, ["N"])
    del graph.output[:]
    graph.output.extend(outputs[name] for name in OUTPUTS if name in outputs)


def parameters(path: Path) -> int:
    """Numbers in the model file's weights; what tells unknown photos beside them is none."""
    stored = onnx.load(path).graph.initializer
    # Scalars such as the temperature are arithmetic, not weights.
    return sum(int(np.prod(t.dims)) for t in stored if len(t.dims) and not t.name.startswith("unknown."))
