"""How well photos of unknown things are told: ``python -m benchmarks.unknowns [--development] [kramar's options]``.

15 of Grocery's classes are left out, five times; a model is trained without them, and the score of photos of the other
classes is compared with that of theirs; and that of CIFAR-10's photos with that of known photos shrunk to 32 pixels.
``--development`` reads no test photo: stand-ins (benchmarks/development.py) take their place.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from PIL import Image
from sklearn.metrics import roc_auc_score

from benchmarks.development import held_out
from benchmarks.harness import CIFAR10, TABLE, bar, run, scratch
from kramar.data.pixels import decode, square
from kramar.records import ResizeRule
from kramar.runtime.model import Model

DRAWS, LEFT_OUT = 5, 15
BUDGET = "5m"
# Of CIFAR-10's photos, so many; their side.
OTHERS, SIDE = 1000, 32

Floats = npt.NDArray[np.floating]
Rows = list[dict[str, str]]


def rows_of(*, development: bool) -> Rows:
    """Grocery's rows; for development, the stand-ins are its test rows."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if development:
        rows = [row for row in rows if row["split"] != "test"]
        stand_ins = held_out(rows)
        rows = [{**row, "split": "test"} if place in stand_ins else row for place, row in enumerate(rows)]
    return [{**row, "image": str(TABLE.parent / row["image"])} for row in rows]


def table(rows: Rows, path: Path) -> Path:
    """A table of ``rows``."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["image", "label", "category", "split"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def shrunk(path: str) -> Image.Image:
    """A photo's centre square at the size of CIFAR-10's."""
    data = Path(path).read_bytes()
    return Image.fromarray(square(decode(data, SIDE), ResizeRule(size=SIDE, crop=1.0, filter="bicubic")))


def cifar() -> list[Image.Image]:
    """Photos of CIFAR-10's test part."""
    found = pq.read_table(next(CIFAR10.glob("test-*.parquet"))).slice(0, OTHERS)
    column = "img" if "img" in found.column_names else "image"
    return [Image.open(io.BytesIO(one["bytes"])) for one in found[column].to_pylist()]


def scores(model: Model, photos: Sequence[str | Image.Image]) -> dict[str, Floats]:
    """Unknown scores of photos by method: the model's own, and what its probabilities and logits alone say."""
    names = ["unknown_score", "probabilities", "logits"]
    found = list(model.stream_of(photos, lambda images: zip(*model.outputs(images, names), strict=True)))
    own, said, logits = (
        np.stack(one) for one in zip(*(one for _, one in found if isinstance(one, tuple)), strict=True)
    )
    return {
        "unknown_score": own,
        "probability": -said.max(axis=1),
        "max logit": -logits.max(axis=1),
        "energy": -np.log(np.exp(logits.astype(np.float64)).sum(axis=1)),
    }


def area(known: Floats, unknown: Floats) -> float:
    """Area under the ROC curve: how often an unknown photo scores higher than a known one."""
    return float(roc_auc_score(np.repeat([0, 1], [len(known), len(unknown)]), np.concatenate([known, unknown])))


def draw_one(number: int, rows: Rows, folder: Path, options: Sequence[str]) -> dict[str, tuple[float, float]]:
    """By method: the area for classes that were left out, and for CIFAR-10's photos."""
    labels = sorted({row["label"] for row in rows})
    left = set(np.random.default_rng(number).choice(labels, LEFT_OUT, replace=False).tolist())
    trained = [row for row in rows if row["label"] not in left and row["split"] != "test"]
    run(
        "train",
        str(table(trained, folder / f"{number}.csv")),
        "--skip-audit",
        *options,
        "--out",
        str(folder / f"run{number}"),
        cache=folder / "cache",
    )
    model = Model(folder / f"run{number}" / "model.onnx")
    tested = [row for row in rows if row["split"] == "test"]
    known = [row["image"] for row in tested if row["label"] not in left]
    near = scores(model, known), scores(model, [row["image"] for row in tested if row["label"] in left])
    far = scores(model, [shrunk(image) for image in known]), scores(model, cifar())
    return {name: (area(near[0][name], near[1][name]), area(far[0][name], far[1][name])) for name in near[0]}


def main(arguments: Sequence[str] = ()) -> None:
    """A model a draw, and what its scores tell."""
    options = list(arguments)
    development = "--development" in options
    if development:
        options.remove("--development")
    if "--budget" not in options:
        options += ["--budget", BUDGET]
    rows, folder = rows_of(development=development), scratch("unknowns")
    draws = []
    for number in range(DRAWS):
        draws.append(draw_one(number, rows, folder, options))
        for name, (near, far) in draws[-1].items():
            print(f"      draw {number}, {name}: classes left out {near:.3f}, CIFAR-10 {far:.3f}")
    means = {name: np.mean([one[name] for one in draws], axis=0) for name in draws[0]}
    for name, (near, far) in means.items():
        print(f"      mean of {DRAWS}, {name}: classes left out {near:.3f}, CIFAR-10 {far:.3f}")
    near, far = means["unknown_score"]
    bar("area under the ROC curve, classes left out", f"{near:.3f}", "at least 0.88", bool(near >= 0.88))
    bar("the same of CIFAR-10 and photos of 32 px", f"{far:.3f}", "at least 0.95", bool(far >= 0.95))


if __name__ == "__main__":
    main(sys.argv[1:])
