"""A model file's last layer: read, replaced, and nothing else changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from scipy.special import softmax

from drawn import Held, photo
from kramar.data.pixels import prepare
from kramar.decisions import unknowns
from kramar.decisions.unknowns import Familiar
from kramar.errors import ModelFileError
from kramar.exporting import fingerprints, last_layer, network_file, onnx_file, storage
from kramar.models import networks
from kramar.models.architectures import find
from kramar.models.linear import Linear
from kramar.models.networks import Top
from kramar.progress import Silent
from kramar.records import ClassCard
from kramar.runtime.model import Model
from kramar.runtime.session import Scores
from model_files import Made, card, tiny


def copied(path: Path, target: Path) -> None:
    target.write_bytes(path.read_bytes())


def known(embeddings: Scores, classes: int, directions: int) -> Familiar:
    """What some photos like these say, of so many classes."""
    many = np.tile(embeddings, (4, 1))
    many = many + np.random.default_rng(1).normal(size=many.shape) * embeddings.std(axis=0)
    return unknowns.fit(many, np.tile(np.arange(10) % classes, 4), directions, embeddings)


def told(made: Made, path: Path) -> Path:
    """The model file with an unknown score."""
    embeddings = Model(made.path).outputs(made.images, ["embedding"])[0]
    familiar = known(embeddings, 5, 8)
    onnx_file.describe(made.path, made.card, path, familiar)
    return path


@pytest.mark.parametrize("make", [copied, storage.float16, storage.int8_weights, storage.int4_weights])
def test_it_is_read_and_replaced(make: Callable[[Path, Path], None], made: Made, tmp_path: Path) -> None:
    path, target = tmp_path / "model.onnx", tmp_path / "new.onnx"
    make(told(made, tmp_path / "told.onnx"), path)
    before = Model(path)
    embeddings, logits, maps = before.outputs(made.images, ["embedding", "logits", "feature_map"])
    np.testing.assert_allclose(last_layer.read(path)(embeddings), logits, rtol=1e-4, atol=1e-3)
    # Another layer, with a class more, and other statistics of what is known.
    random = np.random.default_rng(0)
    layer = Linear(random.normal(size=(embeddings.shape[1], 8)).astype(np.float32), np.arange(8, dtype=np.float32))
    layer = last_layer.stored(layer, path)
    familiar = known(embeddings, 2, 9)
    classes = [*made.card.classes, ClassCard(label="guava", category="Fruit/guava")]
    described = made.card.model_copy(update={"classes": classes, "temperature": 2.5})
    last_layer.replace(path, layer, described, target, familiar)
    after = Model(target)
    assert after.card == described
    names = ["embedding", "logits", "probabilities", "unknown_score", "feature_map"]
    found = after.outputs(made.images, names)
    np.testing.assert_array_equal(found[0], embeddings)
    np.testing.assert_array_equal(found[4], maps)
    expected = layer(embeddings)
    np.testing.assert_allclose(found[1], expected, rtol=1e-4, atol=1e-3)
    chances = softmax(expected.astype(np.float64) / 2.5, axis=1)
    np.testing.assert_allclose(found[2], chances, atol=1e-4)
    np.testing.assert_allclose(found[3], familiar(embeddings, chances.max(axis=1)), atol=1e-3)
    assert [one.name for one in onnx.load(target).graph.output] == [one.name for one in onnx.load(path).graph.output]
    assert last_layer.directions(target) == 9
    assert fingerprints.body(target) == fingerprints.body(path)
    assert fingerprints.layer(target) != fingerprints.layer(path)
    # Exactly what it stores, from its own embeddings.
    (again,) = last_layer.outputs_of(target, embeddings, ["logits"])
    np.testing.assert_array_equal(again, found[1])
    half = make is not copied
    assert (storage_of(target, "head.weight.float16") == onnx.TensorProto.FLOAT16) is half
    # And once more, back to what it was.
    last_layer.replace(target, last_layer.read(path), made.card, tmp_path / "back.onnx", None)
    back = Model(tmp_path / "back.onnx")
    assert not back.has("unknown_score")
    np.testing.assert_allclose(back.scores(made.images), before.scores(made.images), atol=1e-4)


def storage_of(path: Path, name: str) -> int | None:
    return next((int(one.data_type) for one in onnx.load(path).graph.initializer if one.name == name), None)


def test_decisions_do_not_change_what_names_a_layer(made: Made, tmp_path: Path) -> None:
    onnx_file.describe(made.path, made.card.model_copy(update={"temperature": 3.0}), tmp_path / "new.onnx")
    for name in (fingerprints.body, fingerprints.layer):
        assert name(tmp_path / "new.onnx") == name(made.path)
    assert last_layer.directions(made.path) == 0


def test_a_trained_networks_too(tmp_path: Path) -> None:
    architecture = find("convnet:depth=2:width=3").at(32)
    network = networks.build(architecture, 7, Top(), seed=0).eval()
    photos = [Held(photo(seed, 40, 40)) for seed in range(4)]
    images = np.stack([prepare(one.read(), architecture.resize) for one in photos])
    with torch.no_grad():
        source = network(torch.from_numpy(images)).numpy()
    path, target = tmp_path / "model.onnx", tmp_path / "new.onnx"
    described = card(32).model_copy(update={"resize": architecture.resize})
    network_file.write(network, described, path, photos, source, Silent())
    layer = last_layer.read(path)
    (embeddings,) = Model(path).outputs(images, ["embedding"])
    np.testing.assert_allclose(layer(embeddings), source, atol=1e-4)
    last_layer.replace(path, Linear(-layer.weights, layer.bias), described, target, None)
    np.testing.assert_allclose(Model(target).logits(images), embeddings @ -layer.weights + layer.bias, atol=1e-4)


def test_files_of_int8_arithmetic_too(made: Made, tmp_path: Path) -> None:
    path, target = tmp_path / "model.onnx", tmp_path / "new.onnx"
    storage.int8_onnxruntime(made.path, path, list(made.images[:4]))
    before = Model(path)
    embeddings, logits = before.outputs(made.images, ["embedding", "logits"])
    layer = last_layer.read(path)
    np.testing.assert_allclose(layer(embeddings), logits, rtol=1e-4, atol=1e-3)
    new = last_layer.stored(Linear(layer.weights[:, ::-1].copy(), layer.bias), path)
    last_layer.replace(path, new, made.card, target, None)
    again, moved = Model(target).outputs(made.images, ["embedding", "logits"])
    np.testing.assert_array_equal(again, embeddings)
    np.testing.assert_allclose(moved, new(embeddings), rtol=1e-4, atol=1e-3)


def test_several_layers_are_refused(tmp_path: Path, made: Made) -> None:
    model = onnx.load(made.path)
    head = next(node for node in model.graph.node if "logits" in node.output)
    head.output[0] = "raw"
    model.graph.node.append(onnx.helper.make_node("Relu", ["raw"], ["logits"]))
    last = {"calibrated_logits", "probabilities"}
    nodes = sorted(model.graph.node, key=lambda node: not last.isdisjoint(node.output))
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, tmp_path / "deep.onnx")
    with pytest.raises(ModelFileError, match="expected one layer on top of its embedding, found several"):
        last_layer.read(tmp_path / "deep.onnx")
    with pytest.raises(ModelFileError, match="gives no embedding, which reviews and learning need"):
        fingerprints.body(tiny(tmp_path / "tiny.onnx", None))
