"""A backbone as a network that learns: opened with a head on it, and written as a model file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from kramar.data.manifest import Entry
from kramar.decisions.calibration import probabilities
from kramar.exporting import network_file, onnx_file
from kramar.models import architectures, networks, squares, staged
from kramar.models.architectures import Architecture
from kramar.models.backbones import Backbone
from kramar.models.engines import Opened
from kramar.models.linear import Linear
from kramar.models.networks import Network, Top, last_layer
from kramar.models.staged import Staged
from kramar.records import Metrics, ResizeRule, Verification
from kramar.runtime.session import Scores
from kramar.training.answers import answer
from kramar.training.climb import VERIFIED, Ground


def start(backbone: Backbone, classes: int, head: Linear | None = None) -> Network:
    """The backbone with its ImageNet weights and a head of one layer: ``head``, or zeros."""
    body = staged.load(backbone)
    network = Network(body, networks.build_head(body.width, classes, Top()), architectures.find(backbone.name))
    layer = last_layer(network)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(head.weights.T) if head else torch.zeros_like(layer.weight))
        layer.bias.copy_(torch.tensor(head.bias) if head else torch.zeros_like(layer.bias))
    return network


def reopen(backbone: Backbone, classes: int, path: Path) -> Network:
    """The network of a model file that `write` or the head's rung left."""
    network = start(backbone, classes, onnx_file.read_head(path))
    stored = onnx_file.read_weights(path, "body.")
    network.body.load_state_dict({name: torch.tensor(value) for name, value in stored.items()}, strict=True)
    return network


def body_of(network: Network) -> Staged:
    """The stages of a network that `start` opened."""
    assert isinstance(network.body, Staged)
    return network.body


def write(
    ground: Ground, opened: Opened, network: Network, key: str, rung: str
) -> tuple[Scores, float, Metrics | None, Verification]:
    """Leave the network as the model file of ``key``, verified on the validation photos (or on training photos, where
    there are none).

    Returns its validation logits ``[N, C]``, its temperature, its metrics and the verification. Raises ExportError.
    """
    rule = opened.backbone.resize
    logits, proof, source = _said(ground, network, rule)
    temperature, metrics = ground.judged(logits)
    layer = last_layer(network)
    head = Linear(np.ascontiguousarray(layer.weight.detach().cpu().numpy().T), layer.bias.detach().cpu().numpy().copy())
    weights = {f"body.{name}": value.detach().cpu().numpy() for name, value in network.body.named_parameters()}
    card = ground.card(
        resize=rule,
        temperature=temperature,
        backbone=opened.backbone.name,
        rung=rung,
        storage="float32",
        val=metrics,
    )
    verification = onnx_file.write(
        opened.converted.path,
        head,
        card,
        ground.model_file(key),
        [entry.photo for entry in proof],
        probabilities(source, temperature),
        ground.progress,
        weights=weights,
    )
    return logits, temperature, metrics, verification


def export(
    ground: Ground, network: Network, architecture: Architecture, path: Path, rung: str
) -> tuple[Scores, float, Metrics | None, Verification]:
    """As `write`, to ``path``, for a network of whatever layout. Raises ExportError."""
    logits, proof, source = _said(ground, network, architecture.resize)
    temperature, metrics = ground.judged(logits)
    card = ground.card(
        resize=architecture.resize,
        temperature=temperature,
        backbone=architecture.name,
        rung=rung,
        storage="float32",
        val=metrics,
    )
    photos = [entry.photo for entry in proof]
    return logits, temperature, metrics, network_file.write(network, card, path, photos, source, ground.progress)


def _said(ground: Ground, network: Network, rule: ResizeRule) -> tuple[Scores, list[Entry], Scores]:
    """Logits of the validation photos, ``[N, C]``, and the photos that a file is verified on, with theirs."""
    network.eval()
    val = ground.material.parts["val"]
    logits = answer(network, squares.squares(val, rule))
    if val:
        return logits, val, logits
    proof = ground.material.parts["train"][:VERIFIED]
    squares.cache(proof, rule, ground.progress)
    return np.zeros((0, ground.classes), np.float32), proof, answer(network, squares.squares(proof, rule))
