"""Whether decisions keep what they promise: ``python -m benchmarks.decisions [--development] [kramar's options]``.

A model is trained on Grocery's training photos alone, which kramar splits for itself; it sees neither the official
validation nor the test photos. Those, pooled, are the population. 200 times, 1,000 of them are drawn with replacement,
decisions are fitted on the draw as ``kramar decide`` does, and what they do is measured on the whole population.
``--development`` leaves the test photos out: stand-ins (benchmarks/development.py) take their place.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.development import held_out
from benchmarks.harness import TABLE, bar, run, scratch
from kramar.config import SET_COVERAGE
from kramar.decisions import fitting
from kramar.evaluation.decided import decided
from kramar.evaluation.metrics import Scored, score
from kramar.records import Decisions, Promise
from kramar.runtime.model import Model
from kramar.runtime.rule import Rule

DRAWS, PHOTOS = 200, 1000
TARGETS = (0.95, 0.98)
# So many draws of 200 may break a promise that holds with 95% confidence, as it is asked.
ALLOWED = 16
BUDGET = "10m"

Rows = list[dict[str, str]]


def parts(*, development: bool) -> tuple[Rows, Rows]:
    """Rows to train on, and those of the population."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not development:
        return [row for row in rows if row["split"] == "train"], [row for row in rows if row["split"] != "train"]
    rows = [row for row in rows if row["split"] != "test"]
    stand_ins = held_out(rows)
    others = [place in stand_ins or row["split"] == "val" for place, row in enumerate(rows)]
    return (
        [row for row, other in zip(rows, others, strict=True) if not other],
        [row for row, other in zip(rows, others, strict=True) if other],
    )


def table(rows: Rows, path: Path) -> Path:
    """The rows without their split."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["image", "label", "category"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**row, "image": str(TABLE.parent / row["image"])} for row in rows)
    return path


def answers(model: Model, rows: Rows) -> Scored:
    """What the model says of the population."""
    found = [scores for _, scores in model.stream_scores([TABLE.parent / row["image"] for row in rows])]
    return Scored.of(
        np.stack([one for one in found if not isinstance(one, Exception)]),
        [row["label"] for row in rows],
        model.classes,
        [row["image"] for row in rows],
    )


def drawn(population: Scored, generator: np.random.Generator) -> Scored:
    """A sample with replacement: each draw counts by itself."""
    places = generator.integers(0, len(population.truth), PHOTOS)
    return replace(population.some(places), groups=[str(number) for number in range(PHOTOS)])


def tell(population: Scored, model: Model, target: float) -> None:
    """Draws at one precision: guaranteed, estimated, and the plain rule."""
    paths = [one.category for one in model.card.classes]
    generator = np.random.default_rng(0)
    broken = {"guaranteed": 0, "all thresholds": 0}
    coverage: dict[str, list[float]] = {name: [] for name in broken}
    helped, sets = [], []
    for _ in range(DRAWS):
        decisions = fitting.promised(drawn(population, generator), paths, target, SET_COVERAGE, 0)
        found = decided(population, Rule(decisions, model.card.classes))
        wrong = found.precision is not None and found.precision.value < target
        broken["all thresholds"] += wrong
        coverage["all thresholds"].append(found.coverage.value)
        broken["guaranteed"] += wrong and found.guaranteed
        coverage["guaranteed"].append(found.coverage.value * found.guaranteed)
        helped.append(found.coarse.value * (found.coarse_precision.value if found.coarse_precision else 0.0))
        assert found.set_coverage is not None
        sets.append((found.set_coverage.value, found.set_size or 0.0))
    plain = Decisions(
        precision_target=target, auto=Promise(threshold=target), coarse=Promise(), set_coverage=SET_COVERAGE
    )
    rule = decided(population, Rule(plain, model.card.classes))
    shown = sum(value > 0 for value in coverage["guaranteed"])
    print(
        f"      {target:.0%}: guaranteed in {shown} of {DRAWS} draws, coverage {np.mean(coverage['guaranteed']):.1%}; "
        f"with estimates where it is not {np.mean(coverage['all thresholds']):.1%}, broken in "
        f"{broken['all thresholds']}; a plain rule {rule.coverage.value:.1%} at "
        f"{rule.precision.value if rule.precision else 0:.1%}; coarse and right {np.mean(helped):.1%}"
    )
    held, size = np.mean(sets, axis=0)
    print(f"      sets of {SET_COVERAGE:.0%}: {held:.1%} hold the truth on average, {size:.2f} classes each")
    bar(
        f"guarantees of {target:.0%} that were broken",
        f"{broken['guaranteed']} of {DRAWS}",
        f"at most {ALLOWED}",
        broken["guaranteed"] <= ALLOWED,
    )


def main(arguments: Sequence[str] = ()) -> None:
    """One model, then the draws."""
    options = list(arguments)
    development = "--development" in options
    if development:
        options.remove("--development")
    folder = scratch("decisions")
    train, others = parts(development=development)
    given = ("--budget", BUDGET) if "--budget" not in options else ()
    table_of = table(train, folder / "train.csv")
    run("train", str(table_of), *given, *options, "--out", str(folder / "run"), cache=folder / "cache")
    model = Model(folder / "run" / "model.onnx")
    population = answers(model, others)
    metrics = score(population)
    print(f"      population: {metrics.accuracy.percent()}, calibration error {metrics.calibration_error.value:.3f}")
    for target in TARGETS:
        tell(population, model, target)


if __name__ == "__main__":
    main(sys.argv[1:])
