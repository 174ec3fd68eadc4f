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
    familiar = unknowns.fit(learnt, truth, 12)
    known, strange = familiar(photos(8, 30, 2)[0]), familiar(photos(8, 30, 3, strange=True)[0])
    assert known.shape == (240,)
    assert known.dtype == np.float32
    above = (strange[:, None] > known).mean()
    assert above > 0.9
    # A class that is not there has no centre.
    assert unknowns.fit(learnt[truth != 3], truth[truth != 3], 12).centres.shape == (12, 7)


@pytest.mark.parametrize(("room", "expected"), [(np.inf, 64), (1e9, 64), (0, 0), (20_000, 0), (200_000, 48), (1e5, 24)])
def test_directions_are_as_many_as_there_is_room_for(room: float, expected: int) -> None:
    found = unknowns.rank(2000, 81, room)
    assert abs(found - expected) <= 3
    assert unknowns.rank(20, 81, np.inf) == 20


def test_the_graph_gives_the_same(made: Made, tmp_path: Path) -> None:
    embeddings = OnnxSession(made.path).run(made.images, ["embedding"])[0]
    random = np.random.default_rng(0)
    many = np.concatenate([embeddings + random.normal(size=embeddings.shape) * 0.1 for _ in range(20)])
    truth = np.tile(np.arange(len(embeddings)) % 7, 20)
    familiar = unknowns.fit(many, truth, 16)
    path = tmp_path / "model.onnx"
    onnx_file.describe(made.path, made.card, path, familiar)
    model, before = Model(path), Model(made.path)
    answers = model.answers(made.images)
    np.testing.assert_allclose([one.unknown for one in answers], familiar(embeddings), rtol=1e-3, atol=1e-2)
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
