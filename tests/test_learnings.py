"""The way back through what a model file has learnt."""

from __future__ import annotations

from pathlib import Path

import pytest

from kramar.errors import InputError
from kramar.exporting import fingerprints
from kramar.jobs.learnings import Learning, Learnings
from kramar.records import Estimate


def learning(layer: str) -> Learning:
    nothing = Estimate(value=0.0, low=0.0, high=0.0, n=1)
    return Learning(
        model="model.onnx", before="", after="", layer=layer, learnt=1, changed=0, left_out={}, categories=[],
        regularisation=1.0, weight=1.0, accuracy=(nothing, nothing), difference=nothing, p=1.0, log_loss=(1.0, 1.0),
        temperature=1.0, guaranteed=False, auto=None, seconds=1.0,
    )  # fmt: skip


def test_the_same_layer_learnt_again_is_another_step_of_the_way_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "layer", Path.read_text)
    model, made = tmp_path / "model.onnx", tmp_path / "made.onnx"
    model.write_text("L0")
    learnings = Learnings(model)
    # Decisions that were taken back lead to the layer before.
    for layer in ("L1", "L2", "L1"):
        made.write_text(layer)
        learnings.publish(made, learning(layer), learnings.base(0))
    for layer in ("L2", "L1", "L0"):
        learnings.undo()
        assert model.read_text() == layer
    with pytest.raises(InputError, match="expected a file that kramar learn made"):
        learnings.undo()
