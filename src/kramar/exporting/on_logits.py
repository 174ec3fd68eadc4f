"""What a model file computes from its logits and embedding: probabilities and the unknown score.

A quantiser takes it for a part of the network: it would round the score, and merge the two temperatures, of which only
one may change later. So it does not get to see it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx


def without(path: Path, target: Path) -> None:
    """Write the model file at ``path`` to ``target`` as far as its logits, embedding and feature map."""
    model = onnx.load(path)
    graph = model.graph
    ours = _nodes(graph)
    given = {name for node in ours for name in node.output}
    rest = [node for node in graph.node if node not in ours]
    needed = {name for node in rest for name in node.input}
    _set(graph.node, rest)
    _set(graph.initializer, [one for one in graph.initializer if one.name in needed])
    _set(graph.output, [one for one in graph.output if one.name not in given])
    onnx.save(model, target)


def put_back(path: Path, target: Path) -> None:
    """Give ``target``, which was made of what `without` left of ``path``, all that ``path`` has."""
    source, model = onnx.load(path).graph, onnx.load(target)
    graph = model.graph
    ours = _nodes(source)
    needed = {name for node in ours for name in node.input}
    graph.node.extend(ours)
    graph.initializer.extend(one for one in source.initializer if one.name in needed)
    _set(graph.output, list(source.output))
    onnx.checker.check_model(model)
    onnx.save(model, target)


def _nodes(graph: Any) -> list[Any]:
    return [node for node in graph.node if node.name in ("calibrate", "softmax") or node.name.startswith("unknown.")]


def _set(field: Any, values: list[Any]) -> None:
    del field[:]
    field.extend(values)
