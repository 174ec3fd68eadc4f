"""Grocery for development: no test photo is read; groups of alike training photos stand in for them.

Test photos of Grocery are from other shops and other days than training photos. So what stands in for them are whole
groups of alike training photos: of each class with several groups, some that are not its largest, up to three photos
in ten. A frozen backbone's head does about as badly on them as on the official test photos.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.cluster import AgglomerativeClustering

from benchmarks.harness import TABLE, embeddings
from kramar.data.listing import PhotoFile, Row
from kramar.runtime.session import Scores

# Photos whose embeddings, less the mean, are on average nearer than this are one group (cosine distance).
ALIKE = 0.3
# Of a class's photos, at most, that stand in for test photos.
SHARE = 0.3


def development(folder: Path) -> Path:
    """A table in ``folder`` of the training and validation photos, some of the former as its test photos."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] != "test"]
    stand_ins = held_out(rows)
    path = folder / "grocery.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        for place, row in enumerate(rows):
            split = "test" if place in stand_ins else row["split"]
            table.writerow({**row, "image": str(TABLE.parent / row["image"]), "split": split})
    return path


def held_out(rows: Sequence[dict[str, str]]) -> set[int]:
    """Places of the training photos in ``rows`` that stand in for test photos: the same each time."""
    photos = [Row(row["image"], PhotoFile(TABLE.parent / row["image"]), row["label"], row["category"]) for row in rows]
    entries, found = embeddings(photos)
    by_image = {entry.image: place for place, entry in enumerate(entries)}
    directions = _directions(found)
    random = np.random.default_rng(0)
    chosen: set[int] = set()
    for label in sorted({row["label"] for row in rows}):
        places = [place for place, row in enumerate(rows) if row["label"] == label and row["split"] == "train"]
        if len(places) < 2:
            continue
        groups = _groups(directions[[by_image[rows[place]["image"]] for place in places]], ALIKE)
        sizes = np.bincount(groups)
        taken = 0
        for group in random.permutation(len(sizes)):
            if sizes[group] < sizes.max() and taken + sizes[group] <= SHARE * len(places):
                chosen |= {place for place, own in zip(places, groups, strict=True) if own == group}
                taken += sizes[group]
    return chosen


def alike(
    found: Scores, truth: npt.NDArray[np.int64], some: npt.NDArray[np.bool_], distance: float = ALIKE
) -> list[str]:
    """Names of groups of ``some`` of the photos, by class: those whose embeddings ``[N, D]`` are on average nearer."""
    directions, names = _directions(found), [""] * len(truth)
    for number in np.unique(truth).tolist():
        places = np.flatnonzero((truth == number) & some)
        groups = _groups(directions[places], distance) if len(places) > 1 else np.zeros(len(places), np.int64)
        for place, group in zip(places.tolist(), groups.tolist(), strict=True):
            names[place] = f"{number}-{group}"
    return names


def _groups(directions: npt.NDArray[np.float64], distance: float) -> npt.NDArray[np.int64]:
    found = AgglomerativeClustering(n_clusters=None, distance_threshold=distance, metric="cosine", linkage="average")
    return np.asarray(found.fit_predict(directions), np.int64)


def _directions(found: Scores) -> npt.NDArray[np.float64]:
    """Embeddings as directions from the mean of all directions."""
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True), np.float64)
