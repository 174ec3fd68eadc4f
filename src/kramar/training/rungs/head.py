"""Rung 1: a regularised linear layer on what the frozen backbone sees."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from kramar.decisions.calibration import probabilities
from kramar.exporting import onnx_file
from kramar.records import ResizeRule
from kramar.training.climb import VERIFIED, Climbed, Ground, Learnt, Step
from kramar.training.head import Part, fit_head


class HeadRung:
    """The head on the features of each photo as it is."""

    key = rung = "head"

    def __init__(
        self, ground: Ground, converted: Path, backbone: str, resize: ResizeRule, parts: Mapping[str, Part]
    ) -> None:
        """``parts``: the embeddings of the photos of each part, in the material's order."""
        self._ground, self._converted, self._parts = ground, converted, parts
        self._backbone, self._resize = backbone, resize

    def plan(self, seconds: float, climbed: Mapping[str, Climbed]) -> Step:
        """It is always climbed: without it there is no model."""
        del seconds, climbed
        return Step(do=True)

    def climb(self, step: Step, climbed: Mapping[str, Climbed]) -> Climbed:
        """Fit it, write the file."""
        del climbed
        ground, parts = self._ground, self._parts
        head, how = fit_head(
            parts["train"],
            parts["val"],
            ground.classes,
            ground.seed,
            ground.progress,
            deadline=time.monotonic() + ground.left(),
        )
        logits = head(parts["val"].embeddings)
        _, metrics = ground.judged(logits, how.temperature)
        part, most = ("val", None) if len(parts["val"].truth) else ("train", VERIFIED)
        path = ground.model_file(self.key)
        verification = onnx_file.write(
            self._converted,
            head,
            ground.card(
                resize=self._resize,
                temperature=how.temperature,
                backbone=self._backbone,
                rung=self.rung,
                storage="float32",
                val=metrics,
            ),
            path,
            [entry.photo for entry in ground.material.parts[part][:most]],
            probabilities(head(parts[part].embeddings[:most]), how.temperature),
            ground.progress,
        )
        learnt = Learnt(
            key=self.key,
            rung=self.rung,
            backbone=self._backbone,
            how="a linear layer on the frozen network",
            expected=step.expected,
            temperature=how.temperature,
            val=metrics,
            verification=verification,
            head=how,
        )
        return ground.leave(learnt, logits, step)
