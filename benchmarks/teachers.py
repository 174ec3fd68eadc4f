"""What a climb's trained networks say together: ``python -m benchmarks.teachers PLACE``.

PLACE is that of ``benchmarks.climb ... --development --folder PLACE``, whose table has stand-ins for test photos. Of
each set of the networks that were trained beyond the head, the mean of their probabilities is judged: its accuracy and
its log loss, on validation photos and on stand-ins.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from kramar.decisions.calibration import log_loss
from kramar.evaluation.metrics import wilson
from kramar.runtime.model import Model

TOGETHER = 8


def main(arguments: Sequence[str]) -> None:
    """Every set of teachers."""
    (place,) = map(Path, arguments)
    models = place / "run" / "models"
    rungs = [json.loads(path.read_bytes()) for path in models.glob("*.json")]
    trained = [rung["key"] for rung in rungs if rung["head"] is None and not rung["source"]]
    networks = {key: Model(models / f"{key}.onnx") for key in trained}
    with (place / "grocery.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for part, name in (("val", "validation"), ("test", "stand-ins")):
        photos = [row for row in rows if row["split"] == part]
        said = {key: answers(model, [row["image"] for row in photos]) for key, model in networks.items()}
        classes = next(iter(networks.values())).classes
        truth = np.array([classes.index(row["label"]) for row in photos])
        for count in range(1, len(networks) + 1):
            for keys in combinations(sorted(networks), count):
                mean = np.mean([said[key] for key in keys], axis=0)
                right = wilson(int((mean.argmax(axis=1) == truth).sum()), len(truth))
                loss = log_loss(np.log(np.maximum(mean, 1e-12)), truth)
                print(f"{name:<11} {right.percent()}, log loss {loss:.3f}: {' and '.join(keys)}", flush=True)


def answers(model: Model, photos: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Probabilities of the classes, ``[N, C]``."""
    starts = range(0, len(photos), TOGETHER)
    batches = [np.stack([model.pixels(photo) for photo in photos[start : start + TOGETHER]]) for start in starts]
    return np.concatenate([model.scores(batch) for batch in batches])


if __name__ == "__main__":
    main(sys.argv[1:])
