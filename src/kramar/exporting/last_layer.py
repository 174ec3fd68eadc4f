"""A model file's last layer, from embeddings to logits: read, and replaced by another, of more classes if need be.

What gives the embeddings stays bit for bit as it was, whatever its numbers are stored as.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from kramar.decisions.unknowns import Familiar
from kramar.errors import ModelFileError
from kramar.exporting.fingerprints import before, require_embedding
from kramar.exporting.onnx_file import OUTPUTS, tell_unknown
from kramar.files import replacing
from kramar.models.linear import Linear
from kramar.records import ModelCard
from kramar.runtime.session import Scores, inference

# A layer is one where what it makes of twice an embedding is this near to twice what it makes of it.
_NEAR = 1e-3
_UNKNOWN = "unknown."


def read(path: Path) -> Linear:
    """The layer. Raises ModelFileError where there are several on top of the embedding."""
    session = inference(_extracted(path, ["logits"]))
    (width,) = session.get_inputs()[0].shape[1:]

    def said(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        return np.asarray(session.run(["logits"], {"embedding": embeddings})[0], np.float64)

    bias = said(np.zeros((1, width), np.float32))
    weights = said(np.eye(width, dtype=np.float32)) - bias
    tried = np.random.default_rng(0).normal(size=(4, width)).astype(np.float32)
    if not np.allclose(said(tried), tried @ weights + bias, rtol=_NEAR, atol=_NEAR * float(np.abs(weights).max())):
        raise ModelFileError(f"{path}: expected one layer on top of its embedding, found several; train a model anew")
    return Linear(weights.astype(np.float32), bias[0].astype(np.float32))


def stored(given: Linear, path: Path) -> Linear:
    """``given`` as the file at ``path`` stores its own: its weights in float16, or as they are."""
    graph = onnx.load(path).graph
    if not _is_half(graph, _layer(graph)):
        return given
    return Linear(given.weights.astype(np.float16).astype(np.float32), given.bias)


def directions(path: Path) -> int:
    """How many directions tell unknown photos in the file at ``path`` (`decisions.unknowns`); 0 where nothing does."""
    kept = [one for one in onnx.load(path).graph.initializer if one.name == f"{_UNKNOWN}directions"]
    return int(kept[0].dims[1]) if kept else 0


def replace(path: Path, new: Linear, card: ModelCard, target: Path, familiar: Familiar | None) -> None:
    """Write the model file at ``path`` to ``target`` with a ``new`` layer, as precise as its own, and ``card``.

    ``familiar`` tells unknown photos; without it, the file does not tell them.
    """
    model = onnx.load(path)
    graph = model.graph
    old = _layer(graph)
    half = _is_half(graph, old)
    gone = {name for node in old for name in node.output}
    nodes = [node for node in graph.node if gone.isdisjoint(node.output) and not _of_unknown(node.output)]
    used = {name for node in nodes for name in node.input}
    kept = [one for one in graph.initializer if one.name in used]
    made, weights = _nodes(new, half=half)
    place = next(place for place, node in enumerate(nodes) if "logits" in node.input)
    nodes[place:place] = made
    outputs = {output.name: output for output in graph.output if output.name != "unknown_score"}
    for name in ("probabilities", "logits"):
        outputs[name] = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", len(new.bias)])
    temperature = numpy_helper.from_array(np.array(card.temperature, np.float32), "temperature")
    initializers = [*(one for one in kept if one.name != "temperature"), *weights, temperature]
    for field, values in (
        (graph.node, nodes),
        (graph.initializer, initializers),
        (graph.output, [outputs[name] for name in OUTPUTS if name in outputs]),
    ):
        # Copies, since what is in a graph leaves with it.
        copies = [type(one).FromString(one.SerializeToString()) for one in values]
        del field[:]
        field.extend(copies)
    if familiar is not None:
        tell_unknown(graph, familiar, card.temperature)
    helper.set_model_props(model, {"kramar": card.model_dump_json()})
    onnx.checker.check_model(model)
    with replacing(target) as temporary:
        onnx.save(model, temporary)


def outputs_of(path: Path, embeddings: Scores, names: list[str]) -> list[Scores]:
    """What the file at ``path`` makes of embeddings ``[N, D]``: the named outputs, float32 ``[N, ...]``."""
    found: list[Scores] = inference(_extracted(path, names)).run(names, {"embedding": embeddings})
    return found


def _extracted(path: Path, names: list[str]) -> bytes:
    from onnx.utils import Extractor

    model = onnx.load(path)
    require_embedding(model.graph, path)
    return bytes(Extractor(model).extract_model(["embedding"], names).SerializeToString())


def _layer(graph: Any) -> list[Any]:
    """The nodes that make logits of embeddings, and no other ones."""
    below = {name for node in before(graph, "embedding") for name in node.output}
    return [node for node in before(graph, "logits") if below.isdisjoint(node.output)]


def _is_half(graph: Any, layer: list[Any]) -> bool:
    taken = {name for node in layer for name in node.input}
    return any(one.data_type == TensorProto.FLOAT16 for one in graph.initializer if one.name in taken)


def _of_unknown(names: Collection[str]) -> bool:
    return any(name.startswith(_UNKNOWN) or name == "unknown_score" for name in names)


def _nodes(layer: Linear, *, half: bool) -> tuple[list[Any], list[Any]]:
    """The nodes of a layer, and the numbers that they take."""
    gemm = helper.make_node("Gemm", ["embedding", "head.weight", "head.bias"], ["logits"], "head")
    bias = numpy_helper.from_array(layer.bias, "head.bias")
    if not half:
        return [gemm], [numpy_helper.from_array(layer.weights, "head.weight"), bias]
    cast = helper.make_node("Cast", ["head.weight.float16"], ["head.weight"], "head.weight.cast", to=TensorProto.FLOAT)
    return [cast, gemm], [numpy_helper.from_array(layer.weights.astype(np.float16), "head.weight.float16"), bias]
