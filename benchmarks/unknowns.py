"""How well photos of unknown things are told: ``python -m benchmarks.unknowns [--development] [kramar's options]``.

15 of Grocery's classes are left out, five times; a model is trained without them, and the score of photos of the other
classes is compared with that of theirs. ``--development`` reads no test photo: stand-ins (benchmarks/development.py)
are known, and all photos of the classes left out are unknown.
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

from benchmarks.development import held_out
from benchmarks.harness import CIFAR10, TABLE, run, scratch
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


def outputs(model: Model, photos: Sequence[str | Image.Image]) -> dict[str, Floats]:
    """Embeddings and logits of photos."""
    names = ("embedding", "logits")
    found = list(model.stream_of(photos, lambda images: zip(*model.outputs(images, names), strict=True)))
    return {
        name: np.stack([one[place] for _, one in found if not isinstance(one, Exception)])
        for place, name in enumerate(names)
    }


def main(arguments: Sequence[str] = ()) -> None:
    options = list(arguments)
    development = "--development" in options
    if development:
        options.remove("--development")
    rows = rows_of(development=development)
    labels = sorted({row["label"] for row in rows})
    folder = scratch("unknowns")
    kept = Path(options.pop(0))
    kept.mkdir(exist_ok=True)
    given = ("--budget", BUDGET) if "--budget" not in options else ()
    for draw in range(DRAWS):
        left = set(np.random.default_rng(draw).choice(labels, LEFT_OUT, replace=False).tolist())
        some = [row for row in rows if row["label"] not in left]
        trained = [row for row in some if row["split"] != "test"]
        run(
            "train",
            str(table(trained, folder / f"{draw}.csv")),
            "--skip-audit",
            *given,
            *options,
            "--out",
            str(kept / f"run{draw}"),
            cache=kept / "cache",
        )
        model = Model(kept / f"run{draw}" / "model.onnx")
        index = {label: place for place, label in enumerate(model.classes)}
        sets = {
            "train": [row for row in some if row["split"] == "train"],
            "val": [row for row in some if row["split"] == "val"],
            "known": [row for row in some if row["split"] == "test"],
            "unknown": [row for row in rows if row["label"] in left and (development or row["split"] == "test")],
        }
        saved = {}
        for name, part in sets.items():
            for output, values in outputs(model, [row["image"] for row in part]).items():
                saved[f"{name}.{output}"] = values
            saved[f"{name}.truth"] = np.array([index.get(row["label"], -1) for row in part])
        for name, photos in (("shrunk", [shrunk(row["image"]) for row in sets["known"]]), ("cifar", cifar())):
            for output, values in outputs(model, photos).items():
                saved[f"{name}.{output}"] = values
        np.savez(kept / f"draw{draw}.npz", **saved)
        print(draw, model.card.rung, {name: len(part) for name, part in sets.items()}, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
