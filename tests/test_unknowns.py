"""Unknown scores: what lies far from all classes has high ones, and the graph gives those of numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from kramar.decisions import unknowns
from kramar.exporting import onnx_file
from kramar.runtime.model import Model
from kramar.runtime.session import OnnxSession
from model_files import Made

Floats = npt.NDArray[np.float32]


def photos(classes: int, each: int, seed: int, *, strange: bool = False) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Embeddings of classes that lie apart in six of forty directions; strange ones lie apart in six others."""
    centres = np.random.default_rng(0).normal(size=(classes, 6)) * 2
    truth = np.repeat(np.arange(classes), each)
    random = np.random.default_rng(seed)
    spread = random.normal(size=(len(truth), 40)) * np.linspace(0.3, 1.2, 40)
    where = slice(12, 18) if strange else slice(6)
    spread[:, where] += centres[truth]
    return (spread + 5).astype(np.float32), truth


def test_what_is_new_scores_higher() -> None:
    learnt, truth = photos(8, 40, 1)
    held = photos(8, 25, 4)[0]
    familiar = unknowns.fit(learnt, truth, 6, held)
    sure = np.full(240, 0.9)
    known, strange = familiar(photos(8, 30, 2)[0], sure), familiar(photos(8, 30, 3, strange=True)[0], sure)
    assert known.shape == (240,)
    assert known.dtype == np.float32
    assert (strange[:, None] > known).mean() > 0.9
    # Of known photos, 2% count as anything but doubt, and those by twice the standard deviations beyond the others.
    np.testing.assert_allclose(np.sort(known)[:220], 0.1, atol=1e-6)
    new = familiar.new(held)
    beyond = 2 * np.maximum(new - np.quantile(new, 0.98), 0) / new.std()
    np.testing.assert_allclose(familiar(held, np.ones(200)), beyond, atol=1e-4)
    np.testing.assert_allclose(familiar(learnt, np.ones(320)) + 0.4, familiar(learnt, np.full(320, 0.6)), atol=1e-5)
    # A class that is not there tells nothing.
    without = unknowns.fit(learnt[truth != 3], truth[truth != 3], 6, held)
    assert without.directions.shape == (40, 6)


def test_new_is_what_principal_directions_leave() -> None:
    learnt, truth = photos(5, 60, 1)
    new = photos(5, 4, 2, strange=True)[0].astype(np.float64)
    means = np.stack([learnt[truth == one].mean(axis=0) for one in range(5)])
    variance = ((learnt - means[truth]).astype(np.float64) ** 2).mean(axis=0)
    scale = 1 / np.sqrt(variance + 0.05 * variance.mean())
    x = (learnt - learnt.mean(axis=0)) * scale
    # The right singular vectors of the largest singular values span the same room.
    basis = np.linalg.svd(x.astype(np.float64), full_matrices=False)[2][:9].T
    y = (new - learnt.mean(axis=0)) * scale
    expected = 1 - ((y @ basis) ** 2).sum(axis=1) / (y**2).sum(axis=1)
    found = unknowns.fit(learnt, truth, 9, learnt)
    np.testing.assert_allclose(found.new(new.astype(np.float32)), expected, rtol=2e-3, atol=2e-3)
    # The mean of all photos has no direction: it counts as new.
    assert found.new(found.centre[None])[0] == 1
    assert found(found.centre[None], np.ones(1)).shape == (1,)


@pytest.mark.parametrize(
    ("room", "expected"), [(np.inf, 128), (1e9, 128), (0, 0), (20_000, 0), (300_000, 70), (1e5, 20)]
)
def test_directions_are_as_many_as_there_is_room_for(room: float, expected: int) -> None:
    found = unknowns.rank(2000, room)
    assert abs(found - expected) <= 3
    assert unknowns.rank(20, np.inf) == 20


def test_the_graph_gives_the_same(made: Made, tmp_path: Path) -> None:
    embeddings = OnnxSession(made.path).run(made.images, ["embedding"])[0]
    random = np.random.default_rng(0)
    many = np.concatenate([embeddings + random.normal(size=embeddings.shape) * 0.1 for _ in range(20)])
    truth = np.tile(np.arange(len(embeddings)) % 7, 20)
    familiar = unknowns.fit(many, truth, 16, many)
    path = tmp_path / "model.onnx"
    onnx_file.describe(made.path, made.card, path, familiar)
    model, before = Model(path), Model(made.path)
    answers = model.answers(made.images)
    expected = familiar(embeddings, before.scores(made.images).max(axis=1))
    np.testing.assert_allclose([one.unknown for one in answers], expected, rtol=1e-3, atol=1e-3)
    # Another temperature changes probabilities, and no unknown score.
    onnx_file.describe(path, made.card.model_copy(update={"temperature": 3.0}), tmp_path / "other.onnx")
    other = Model(tmp_path / "other.onnx").answers(made.images)
    assert [one.unknown for one in other] == [one.unknown for one in answers]
    np.testing.assert_array_equal(np.stack([one.probabilities for one in answers]), before.scores(made.images))
    assert [output.name for output in onnx.load(path).graph.output] == [
        "probabilities", "logits", "embedding", "unknown_score", "feature_map",
    ]  # fmt: skip
    one_by_one = [model.answers(made.images[place : place + 1])[0].unknown for place in range(3)]
    np.testing.assert_allclose(one_by_one, [one.unknown for one in answers[:3]], rtol=1e-3, atol=1e-2)
    # What it takes is what was reckoned.
    width = embeddings.shape[1]
    room = path.stat().st_size - made.path.stat().st_size
    assert unknowns.rank(width, room) <= 16
    assert unknowns.rank(width, room + 3000) >= 16
