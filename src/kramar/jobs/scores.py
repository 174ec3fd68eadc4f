"""What the models of a run's rungs say of its validation and test photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kramar.data.manifest import Entry
from kramar.decisions.calibration import probabilities
from kramar.decisions.unknowns import Familiar
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
    final: Path | None = None,
    familiar: Familiar | None = None,
    saw: Callable[[str, Scores], object] = lambda _part, _embeddings: None,
) -> dict[str, Scored]:
    """A rung's answers by part, of those that are ``asked`` for.

    The rung left its model file and its validation logits in ``models``; ``final`` is that file as it is kept, where it
    is. ``parts`` are the first backbone's; ``familiar`` is what a file that gives unknown scores has them from; ``saw``
    is told the embeddings of parts that the file looks at. Raises FailedError where a photo cannot be read any more.
    """
    found, path = {}, final or models / f"{one.key}.onnx"
    for part in asked:
        entries = material.parts[part]
        if not entries:
            continue
        scores: npt.NDArray[np.floating]
        unknown = None
        if one.key == HeadRung.key:
            embeddings = parts[part].embeddings
            scores = probabilities(onnx_file.read_head(path)(embeddings), one.temperature)
            unknown = familiar(embeddings, scores.max(axis=1)) if familiar else None
        elif part == "val" and familiar is None:
            scores = probabilities(np.load(models / f"{one.key}.npy"), one.temperature)
        else:
            model = Model(path)
            scores, *others, embeddings = outputs(model, [*model.asked, "embedding"], entries, progress)
            saw(part, embeddings)
            unknown = others[0] if others else None
        labels, groups = [e.label for e in entries], [e.group for e in entries]
        found[part] = Scored.of(scores, labels, material.classes, groups, unknown)
    return found


def outputs(model: Model, names: Sequence[str], entries: Sequence[Entry], progress: Progress) -> list[Scores]:
    """The named outputs ``[N, ...]`` of photos that could be read before. Raises FailedError."""
    found, unread = readable_outputs(model, names, entries, progress)
    for entry in entries:
        if error := unread.get(entry.image):
            raise FailedError(
                f"{entry.image}: was readable before and is not any more ({error}); run the command again"
            )
    return found


def readable_outputs(
    model: Model, names: Sequence[str], entries: Sequence[Entry], progress: Progress
) -> tuple[list[Scores], dict[str, Exception]]:
    """The named outputs ``[N, ...]`` of the photos that can be read, and why others cannot be, by their names."""
    found: list[list[Scores]] = []
    unread: dict[str, Exception] = {}
    with progress.stage("Scoring photos", len(entries)) as advance:
        photos = (entry.photo for entry in entries)
        answers = model.stream_of(photos, lambda images: zip(*model.outputs(images, names), strict=True))
        for entry, (_, given) in zip(entries, answers, strict=True):
            if isinstance(given, Exception):
                unread[entry.image] = given
            else:
                found.append(list(given))
            advance(1)
    return [np.stack(column) for column in zip(*found, strict=True)], unread
