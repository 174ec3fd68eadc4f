"""Why the head whitens: validation accuracy and log loss against the shrinkage, on three sets of photos.

Grocery's official validation split comes from other shops than its training split; the other two are random draws.
An enormous shrinkage is plain standardisation.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.harness import CIFAR10, FASHION, TABLE, embeddings
from kramar.data.listing import Row
from kramar.data.sources import list_photos
from kramar.progress import Silent
from kramar.training.head import Part, fit_head

SHRINKAGES = (1e6, 10.0, 3.0, 2.0, 1.0, 0.3, 0.1)


def sets() -> Iterator[tuple[str, list[Row], list[Row]]]:
    """Name, training rows, validation rows. No test photo is read."""
    rows = list_photos(TABLE, {}).rows
    yield "grocery", [r for r in rows if r.split == "train"], [r for r in rows if r.split == "val"]
    if FASHION.is_file():
        rows = list_photos(FASHION, {}).rows
        yield "fashion", [r for r in rows if r.split == "train"][::2], [r for r in rows if r.split == "val"]
    rows = [row for row in list_photos(CIFAR10, {}).rows if row.split == "train"]
    yield "cifar10", rows[:3000], rows[3000:4000]


def main() -> None:
    """Print a line a set and shrinkage."""
    for name, train_rows, val_rows in sets():
        train_entries, train = embeddings(train_rows)
        val_entries, val = embeddings(val_rows)
        labels = sorted({entry.label for entry in train_entries})
        train_part, val_part = (
            Part(x, np.array([labels.index(e.label) for e in entries]), [e.group for e in entries])
            for x, entries in ((train, train_entries), (val, val_entries))
        )
        for shrinkage in SHRINKAGES:
            _, how = fit_head(train_part, val_part, len(labels), 0, Silent(), shrinkage=shrinkage)
            best = min(how.trials, key=lambda trial: trial.log_loss)
            print(
                f"{name:<8} n = {len(val_entries):<5} shrinkage {shrinkage:<9g} accuracy {best.accuracy:.3f} "
                f"log loss {best.log_loss:.3f}  C {best.regularisation:.4g} after {len(how.trials)} trials"
            )
