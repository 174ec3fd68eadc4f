"""How a product's photos are pooled: ``python -m benchmarks.products [MODEL TABLE]``.

Neighbours in number among Grocery's photos show the same shelf of one shop: 2 to 5 of them stand for a product. TABLE
says which photos the model did not learn from; photos of Grocery's own test part are left alone, whatever it says.
Without arguments, a model of two minutes is trained on the photos for development (benchmarks/development.py), of
which it is then measured on validation photos and stand-ins for test photos.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.decisions import Rows, answers
from benchmarks.development import development
from benchmarks.harness import TABLE, run, scratch
from kramar.evaluation import paired
from kramar.evaluation.intervals import percentiles
from kramar.evaluation.metrics import SMALLEST, Scored, score
from kramar.evaluation.products import pooled
from kramar.runtime.model import Model

SMALLEST_PRODUCT, LARGEST_PRODUCT = 2, 5
BUDGET = "2m"
RESAMPLES = 10_000

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
Sizes = Sequence[int]


def starts(sizes: Sizes) -> npt.NDArray[np.int64]:
    """Where each product's photos begin."""
    return np.asarray(np.cumsum(sizes) - sizes, np.int64)


def arithmetic(probabilities: Floats, sizes: Sizes) -> Array:
    return np.asarray(np.add.reduceat(probabilities.astype(np.float64), starts(sizes)) / np.array(sizes)[:, None])


def summed(probabilities: Floats, sizes: Sizes) -> Array:
    likely = pooled(probabilities, sizes) ** np.array(sizes)[:, None]
    return np.asarray(likely / likely.sum(axis=1, keepdims=True))


def surest(probabilities: Floats, sizes: Sizes) -> Array:
    sure = probabilities.max(axis=1)
    chosen = [start + int(sure[start : start + n].argmax()) for start, n in zip(starts(sizes), sizes, strict=True)]
    return probabilities[chosen].astype(np.float64)


def first(probabilities: Floats, sizes: Sizes) -> Array:
    return probabilities[starts(sizes)].astype(np.float64)


# What each is compared with comes first.
POOLINGS: dict[str, Callable[[Floats, Sizes], Array]] = {
    "mean of log-probabilities": pooled,
    "mean of probabilities": arithmetic,
    "sum of log-probabilities": summed,
    "the surest photo": surest,
    "one photo alone": first,
}


def unseen(table: Path) -> Rows:
    """Rows of photos that the model did not learn from, none of Grocery's own test part."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = [{**row, "image": str((table.parent / row["image"]).resolve())} for row in csv.DictReader(file)]
    test = TABLE.parent.resolve() / "test"
    return [row for row in rows if row["split"] != "train" and not Path(row["image"]).is_relative_to(test)]


def runs(rows: Rows) -> Iterator[list[int]]:
    """Places of photos of one folder that follow each other in number."""
    numbered = [(image.parent, _number(image), place) for place, image in enumerate(Path(row["image"]) for row in rows)]
    found: list[int] = []
    before = (Path(), -1)
    for folder, number, place in sorted(numbered):
        if found and before != (folder, number - 1):
            yield found
            found = []
        found.append(place)
        before = folder, number
    yield found


def _number(image: Path) -> int:
    found = re.search(r"(\d+)$", image.stem)
    assert found is not None, f"{image}: photos of Grocery are numbered"
    return int(found[1])


def products(rows: Rows, generator: np.random.Generator) -> Iterator[tuple[str, list[int]]]:
    """Places of the photos of each product, and what names its run; a last photo of a run is left over."""
    for number, run_of in enumerate(runs(rows)):
        rest = run_of
        while len(rest) >= SMALLEST_PRODUCT:
            size = int(generator.integers(SMALLEST_PRODUCT, LARGEST_PRODUCT + 1))
            yield str(number), rest[:size]
            rest = rest[size:]


def loss_gap(one: Scored, other: Scored) -> str:
    """Mean log loss of the first less that of the second on the same products, by a bootstrap over runs."""
    places = np.arange(len(one.truth))
    a, b = (-np.log(np.clip(each.probabilities[places, each.truth], SMALLEST, 1)) for each in (one, other))
    _, group = np.unique(np.asarray(one.groups), return_inverse=True)
    sums, sizes = np.bincount(group, a - b), np.bincount(group)
    drawn = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
    value = float((a - b).mean())
    low, high = percentiles(value, (drawn @ sums) / (drawn @ sizes), len(sums))
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def main(arguments: Sequence[str] = ()) -> None:
    """One model's answers, pooled in each way."""
    if arguments:
        file, table = map(Path, arguments)
    else:
        folder = scratch("products")
        table, file = development(folder), folder / "run" / "model.onnx"
        run("train", str(table), "--budget", BUDGET, "--out", str(folder / "run"), cache=folder / "cache")
    model = Model(file)
    rows = [row for row in unseen(table) if row["label"] in model.classes]
    scored = answers(model, rows)
    found = list(products(rows, np.random.default_rng(0)))
    photos, sizes = [place for _, some in found for place in some], [len(some) for _, some in found]
    labels = [rows[some[0]]["label"] for _, some in found]
    groups = [name for name, _ in found]
    told = {
        name: Scored.of(pool(scored.probabilities[photos], sizes), labels, scored.classes, groups)
        for name, pool in POOLINGS.items()
    }
    print(f"      {len(photos)} photos of {len(found)} products in {len(set(groups))} runs")
    for name, one in told.items():
        metrics = score(one)
        figures = ", ".join(
            f"{title} {each.value:.3f} ({each.low:.3f} to {each.high:.3f})"
            for title, each in (("log loss", metrics.log_loss), ("calibration error", metrics.calibration_error))
        )
        print(f"      {name}: accuracy {metrics.accuracy.percent()}, {figures}")
    kept = next(iter(told))
    for pair in paired.compare_all({name: one.right for name, one in told.items()}, groups, 0):
        if pair.first == kept:
            gap = pair.difference
            print(
                f"      {kept} less {pair.second}: accuracy {100 * gap.value:+.1f} points ({100 * gap.low:+.1f} to "
                f"{100 * gap.high:+.1f}), p {pair.adjusted:.2g}; log loss {loss_gap(told[kept], told[pair.second])}"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
