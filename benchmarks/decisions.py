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
from kramar.decisions import fitting, sets
from kramar.decisions.calibration import stretched
from kramar.decisions.fitting import Asked
from kramar.evaluation.decided import decided
from kramar.evaluation.metrics import Scored, calibration_bins, score
from kramar.records import Decisions, Promise
from kramar.runtime.model import Model
from kramar.runtime.rule import Rule, members

DRAWS, PHOTOS = 200, 1000
TARGETS = (0.95, 0.98)
SETS = (0.9, 0.95)
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
    photos = [TABLE.parent / row["image"] for row in rows]
    found = [one for _, one in model.stream_of(photos, model.answers) if not isinstance(one, Exception)]
    return Scored.of(
        np.stack([one.probabilities for one in found]),
        [row["label"] for row in rows],
        model.classes,
        [row["image"] for row in rows],
        np.array([one.unknown for one in found]) if model.has("unknown_score") else None,
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
    backed = []
    for _ in range(DRAWS):
        sample = drawn(population, generator)
        factor = fitting.stretch(sample, 0)
        decisions = fitting.promised(stretched(sample, factor), paths, Asked(target), 0)
        rule, again = Rule(decisions, model.card.classes), stretched(population, factor)
        found = decided(again, rule)
        wrong = found.precision is not None and found.precision.value < target
        broken["all thresholds"] += wrong
        coverage["all thresholds"].append(found.coverage.value)
        broken["guaranteed"] += wrong and found.guaranteed
        coverage["guaranteed"].append(found.coverage.value * found.guaranteed)
        backed.append(back_off(again, rule))
    plain = Decisions(
        precision_target=target, auto=Promise(threshold=target), coarse=Promise(), set_coverage=SET_COVERAGE
    )
    rule_of = decided(population, Rule(plain, model.card.classes))
    shown = sum(value > 0 for value in coverage["guaranteed"])
    print(
        f"      {target:.0%}: guaranteed in {shown} of {DRAWS} draws, coverage {np.mean(coverage['guaranteed']):.1%}; "
        f"with estimates where it is not {np.mean(coverage['all thresholds']):.1%}, broken in "
        f"{broken['all thresholds']}; a plain rule {rule_of.coverage.value:.1%} at "
        f"{rule_of.precision.value if rule_of.precision else 0:.1%}"
    )
    bar(
        f"guarantees of {target:.0%} that were broken",
        f"{broken['guaranteed']} of {DRAWS}",
        f"at most {ALLOWED}",
        broken["guaranteed"] <= ALLOWED,
    )
    without, with_coarse, precision = np.nanmean(backed, axis=0)
    bar(
        f"right answers in groups of several classes at {target:.0%}",
        f"{without:.1%}, with coarse {with_coarse:.1%}",
        "10 points more",
        bool(with_coarse - without >= 0.1),
    )
    print(f"      of all those coarse answers, {precision:.1%} are right")


def back_off(population: Scored, rule: Rule) -> tuple[float, float, float]:
    """Of photos whose second level has several classes: right without a person, and with coarse answers; and of coarse
    answers to any photo, those that are right."""
    second = ["/".join(path.split("/")[:2]) for path in rule.tree.paths]
    several = np.array([second.count(one) > 1 for one in second])
    some = (population.truth >= 0) & several[population.truth]
    done = rule.verdicts(population.probabilities, population.unknown)
    auto = done.auto & population.right
    coarse = rule.tree.holds(done.coarse, population.truth)
    given = int((done.coarse >= 0).sum())
    return (
        float(auto[some].mean()),
        float((auto | coarse)[some].mean()),
        float(coarse.sum() / given) if given else float("nan"),
    )


def calibrated(population: Scored, model: Model) -> None:
    """Calibration error before and after the temperature of each draw, and how often sets hold the truth."""
    generator = np.random.default_rng(0)
    errors: list[float] = []
    held: dict[float, list[tuple[float, float]]] = {coverage: [] for coverage in SETS}
    for _ in range(DRAWS):
        sample = drawn(population, generator)
        factor = fitting.stretch(sample, 0)
        sample, again = stretched(sample, factor), stretched(population, factor)
        errors.append(error(again))
        known = sample.truth >= 0
        for coverage in SETS:
            least = sets.least(sample.probabilities[known], sample.truth[known], coverage)
            assert least is not None
            inside = members(again.probabilities, least)
            right = [int(truth) in one for truth, one in zip(again.truth, inside, strict=True)]
            held[coverage].append((float(np.mean(right)), float(np.mean([len(one) for one in inside]))))
    raw = error(stretched(population, 1 / model.card.temperature))
    low, high = np.quantile(errors, (0.025, 0.975))
    bar(
        "calibration error after fitting, mean of draws",
        f"{np.mean(errors):.1%}",
        "at most 3%",
        bool(np.mean(errors) <= 0.03),
    )
    print(
        f"      draws {low:.1%} to {high:.1%}; by the run's temperature {error(population):.1%}, without any {raw:.1%}"
    )
    for coverage, found in held.items():
        share, size = np.mean(found, axis=0)
        bar(
            f"sets of {coverage:.0%} that hold the truth, mean of draws",
            f"{share:.1%}",
            "within 1.5 points",
            bool(abs(share - coverage) <= 0.015),
        )
        low, high = np.quantile([one for one, _ in found], (0.025, 0.975))
        print(f"      draws {low:.1%} to {high:.1%}; {size:.2f} classes each")


def error(scored: Scored) -> float:
    """Top-label calibration error."""
    bins = calibration_bins(scored)
    return sum(one.n * abs(one.confidence - one.accuracy) for one in bins) / len(scored.truth)


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
    calibrated(population, model)
    for target in TARGETS:
        tell(population, model, target)


if __name__ == "__main__":
    main(sys.argv[1:])
