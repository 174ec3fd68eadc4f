"""What the models of a run's rungs say of its validation and test photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kramar.data.manifest import Entry
from kramar.decisions.calibration import probabilities
from kramar.errors import FailedError
from kramar.evaluation.metrics import Scored
from kramar.exporting import onnx_file
from kramar.progress import Progress
from kramar.runtime.model import Model
from kramar.runtime.session import Scores
from kramar.training.climb import Climbed
from kramar.training.head import Part
from kramar.training.material import Material
from kramar.training.rungs.head import HeadRung


def scored(
    one: Climbed,
    models: Path,
    material: Material,
    parts: Mapping[str, Part],
    progress: Progress,
    asked: Sequence[str] = ("val", "test"),
) -> dict[str, Scored]:
    """A rung's answers by part, of those that are ``asked`` for.

    Its model file is in the folder ``models``, ``parts`` are the first backbone's.
    Raises FailedError where a photo cannot be read any more.
    """
    found = {}
    for part in asked:
        entries = material.parts[part]
        if not entries:
            continue
        path = models / f"{one.key}.onnx"
        if one.key == HeadRung.key:
            scores = probabilities(onnx_file.read_head(path)(parts[part].embeddings), one.temperature)
        elif part == "val":
            scores = probabilities(np.load(path.with_suffix(".npy")), one.temperature)
        else:
            scores = np.asarray(_answers(Model(path), entries, progress), np.float64)
        found[part] = Scored.of(scores, [e.label for e in entries], material.classes, [e.group for e in entries])
    return found


def _answers(model: Model, entries: Sequence[Entry], progress: Progress) -> Scores:
    """Probabilities ``[N, C]`` of photos that could be read before."""
    found = []
    with progress.stage("Scoring photos", len(entries)) as advance:
        for _, scores in model.stream_scores([entry.photo for entry in entries]):
            if isinstance(scores, Exception):
                raise FailedError(f"a photo that was readable before is not any more ({scores}); run the command again")
            found.append(scores)
            advance(1)
    return np.stack(found)
