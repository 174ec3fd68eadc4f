"""What names the parts of a model file: what gives its embeddings, and what makes logits of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import onnx

from kramar.errors import ModelFileError


def body(path: Path) -> str:
    """Of the part that gives embeddings: the same where it gives the same ones (SHA-256)."""
    return _digest(_graph(path), "embedding")


def layer(path: Path) -> str:
    """Of the last layer, and the body below it: the same where logits are (SHA-256)."""
    return _digest(_graph(path), "logits")


def require_embedding(graph: Any, path: Path) -> None:
    """Raise ModelFileError where the graph of the file at ``path`` gives none."""
    if "embedding" not in {output.name for output in graph.output}:
        raise ModelFileError(f"{path}: gives no embedding, which reviews and learning need; train a model anew")


def before(graph: Any, name: str) -> list[Any]:
    """The nodes that an output takes, in the graph's order."""
    makers = {made: node for node in graph.node for made in node.output}
    needed, open_ = {name}, [name]
    while open_:
        node = makers.get(open_.pop())
        for taken in [] if node is None else node.input:
            if taken not in needed:
                needed.add(taken)
                open_.append(taken)
    return [node for node in graph.node if not needed.isdisjoint(node.output)]


def _graph(path: Path) -> Any:
    graph = onnx.load(path).graph
    require_embedding(graph, path)
    return graph


def _digest(graph: Any, name: str) -> str:
    nodes = before(graph, name)
    taken = {name for node in nodes for name in node.input}
    digest = hashlib.sha256()
    for part in (*nodes, *(one for one in graph.initializer if one.name in taken)):
        digest.update(part.SerializeToString(deterministic=True))
    return digest.hexdigest()
