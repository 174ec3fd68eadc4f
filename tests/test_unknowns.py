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
    """Embeddings of classes that lie apart in six of forty directions, along which others lie elsewhere."""
    centres = np.random.default_rng(0).normal(size=(2 * classes, 6)) * 2
    truth = np.repeat(np.arange(classes), each)
    random = np.random.default_rng(seed)
    spread = random.normal(size=(len(truth), 40)) * np.linspace(0.3, 1.2, 40)
    spread[:, :6] += centres[truth + classes * strange]
    return (spread + 5).astype(np.float32), truth


def test_what_no_class_holds_scores_higher() -> None:
    learnt, truth = photos(8, 40, 1)
    familiar = unknowns.fit(learnt, truth, 12, photos(8, 10, 4)[0])
    sure = np.full(240, 0.9)
    known, strange = familiar(photos(8, 30, 2)[0], sure), familiar(photos(8, 30, 3, strange=True)[0], sure)
    assert known.shape == (240,)
    assert known.dtype == np.float32
    above = (strange[:, None] > known).mean()
    assert above > 0.9
    # Of photos that were not learnt from, distances vary as much as probabilities do.
    assert abs(familiar.distances(photos(8, 10, 4)[0]).std() - 0.25) < 1e-3
    np.testing.assert_allclose(familiar(learnt, np.ones(320)) + 0.4, familiar(learnt, np.full(320, 0.6)), atol=1e-5)
    # A class that is not there has no centre.
    assert unknowns.fit(learnt[truth != 3], truth[truth != 3], 12, learnt).centres.shape == (12, 7)


def test_distances_are_mahalanobis() -> None:
    learnt, truth = photos(5, 60, 1)
    new = photos(5, 4, 2, strange=True)[0].astype(np.float64)
    # With all directions, the covariance is whole: scaled, its variances raised by 3% of their mean.
    found = unknowns.fit(learnt, truth, 40, learnt).distances(new)
    means = np.stack([learnt[truth == one].mean(axis=0) for one in range(5)])
    within = (learnt - means[truth]).astype(np.float64)
    variance = (within**2).mean(axis=0)
    scale = 1 / np.sqrt(variance + 0.05 * variance.mean())
    covariance = (within * scale).T @ (within * scale) / len(within)
    covariance += 0.03 * np.trace(covariance) / 40 * np.eye(40)
    gaps = (new[:, None] - means[None]) * scale
    expected = np.einsum("ncd,de,nce->nc", gaps, np.linalg.inv(covariance), gaps).min(axis=1)
    np.testing.assert_allclose(found / found.mean(), expected / expected.mean(), rtol=0.02)


@pytest.mark.parametrize(("room", "expected"), [(np.inf, 64), (1e9, 64), (0, 0), (20_000, 0), (200_000, 41), (1e5, 18)])
def test_directions_are_as_many_as_there_is_room_for(room: float, expected: int) -> None:
    found = unknowns.rank(2000, 81, room)
    assert abs(found - expected) <= 3
    assert unknowns.rank(20, 81, np.inf) == 20


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
    width, classes = embeddings.shape[1], 7
    room = path.stat().st_size - made.path.stat().st_size
    assert unknowns.rank(width, classes, room) <= 16
    assert unknowns.rank(width, classes, room + 3000) >= 16
