"""The search's page: true to its figures, whole for every record, safe for every label."""

from __future__ import annotations

import random
import re
from dataclasses import asdict
from math import exp, log10
from typing import Any

import pytest

from kramar.evaluation.paired import Verdict
from kramar.models import architectures as known
from kramar.records import DataRecord, Epoch, Estimate, Metrics, ModelRecord, Verification
from kramar.report.search import render_search
from kramar.report.search_charts import Scale, parallel, slices
from kramar.study.records import ComparisonRecord, TrialRecord
from kramar.study.search_records import Outcome, SearchRecord, Tried
from kramar.study.search_space import Space
from kramar.study.settings import NO_TRANSFER, REGIMES, Setting, default_recipe
from pages import whole_page
from report_records import wilson

N = 1000


def scores(accuracy: float, n: int = N) -> Metrics:
    def about(value: float) -> Estimate:
        return Estimate(value=value, low=max(value - 0.02, 0.0), high=value + 0.02, n=n)

    return Metrics(
        accuracy=wilson(round(accuracy * n), n),
        top5=wilson(round(min(accuracy + 0.1, 1) * n), n),
        balanced_accuracy=about(accuracy - 0.01),
        macro_f1=about(accuracy - 0.02),
        log_loss=about(1 - accuracy),
        calibration_error=about(0.03),
    )


def model(setting: Setting, recipe: dict[str, Any], accuracy: float, tested: bool) -> TrialRecord:
    return TrialRecord(
        architecture=setting.architecture.name,
        regime=setting.regime,
        transfer=setting.transfer,
        seed=0,
        size=setting.architecture.resize.size,
        recipe=recipe,
        epochs=[],
        metrics={"val": scores(accuracy, 700), **({"test": scores(accuracy - 0.02)} if tested else {})},
        parameters=1_213_000,
        bytes=4_900_000,
        milliseconds=1.9,
        photos_per_second=700.0,
        train_seconds=60.0,
        seconds=70.0,
        energy_joules=None,
        weights_source="none: trained from scratch",
        weights_licence="",
        verification=Verification(photos=700, label_differences=0, largest_difference=1e-6),
    )


def searched(
    trials: int = 30,
    *,
    name: str = "convnet",
    regime: str = "scratch+augment",
    chosen: int | None = None,
    tested: bool = True,
    verdict: Verdict = "better",
    started: bool = True,
    **changes: object,
) -> SearchRecord:
    """``run.json`` of a search as it could have come out."""
    architecture = known.find(name)
    transfer = "frozen" if REGIMES[regime].weights else NO_TRANSFER
    base = Setting(architecture, regime, transfer, default_recipe(architecture, regime, transfer), 0)
    space, chance = Space.of(base, 3500), random.Random(trials)
    points = [
        space.start if number == 0 else {axis: _drawn(dist, chance) for axis, dist in space.axes.items()}
        for number in range(trials)
    ]
    tried = []
    for number, point in enumerate(points):
        recipe = base.recipe if number == 0 else space.recipe(point)
        off = abs(log10(float(point["rate"]) / 3)) + abs(float(point["dropout"]) - 0.3)
        ideal = 0.74 - 0.1 * off + chance.gauss(0, 0.01)
        pruned = number > 5 and ideal < 0.66
        epochs = [
            Epoch(
                number=at,
                train_loss=2 * exp(-at / 8) + 0.5,
                val_loss=2 * exp(-at / 8) + 0.6,
                val_accuracy=ideal * (1 - exp(-(at + 1) / 6)),
                seconds=2.0,
            )
            for at in range(7 if pruned else 30)
        ]
        tried.append(
            Tried(
                number=number,
                state="pruned" if pruned else "complete",
                value=epochs[-1].val_accuracy,
                log_loss=epochs[-1].val_loss,
                seconds=2.0 * len(epochs),
                why="after 7 epochs below the median of earlier trials" if pruned else "",
                parameters=space.parameters(recipe),
                epochs=epochs,
            )
        )
    whole = [one for one in tried if one.state == "complete"]
    best = chosen if chosen is not None else max(whole, key=lambda one: one.value or 0).number
    before = model(base, asdict(base.recipe), tried[0].value or 0, tested)
    after = model(base, asdict(space.recipe(points[best])), tried[best].value or 0, tested) if best else before
    gap = Estimate(value=0.04, low=0.011, high=0.068, n=N)
    test = ComparisonRecord(first="after", second="before", difference=gap, p=0.006, adjusted=0.006, verdict=verdict)
    values: dict[str, object] = {
        "kramar": "0.1.0",
        "command": "kramar tune photos/products.csv --architecture convnet",
        "started": "2026-03-04T14:02:11+00:00",
        "seed": 0,
        "machine": {"system": "Linux x86_64", "processor": "AMD EPYC", "cores": 2, "memory_bytes": 8_000_000_000},
        "data": DataRecord(
            source="photos/products.csv",
            photos=5000,
            classes=12,
            fingerprint="b3f1c09a5de2",
            split={"train": 3500, "val": 700, "test": N if tested else 0},
            split_from="kramar",
            left_out={"unreadable": 0},
        ),
        "architecture": name,
        "regime": regime,
        "transfer": transfer,
        "asked": trials,
        "search_epochs": 30,
        "trials": tried,
        "finals": {},
        "chosen": best,
        "before": before if started else None,
        "after": after,
        "tests": [test] if tested and best and started else [],
        "importance": {"learning_rate": 0.55, "dropout": 0.3, "optimiser": 0.1, "batch": 0.05} if trials > 8 else {},
        "model": ModelRecord(
            file="model.onnx",
            bytes=4_900_000,
            sha256="0" * 64,
            backbone=name,
            rung="tune",
            storage="float32",
            parameters=1_213_000,
            milliseconds=1.9,
            input_size=64,
            weights_source="none: trained from scratch",
            weights_licence="",
        ),
        "metrics": after.metrics,
        "estimate": {"first": 60.0, "later": 60.0, "end": 10.0, "whole": 1810.0, "took": 1200.0},
        "seconds": {"total": 1300.0, "rooms": {"trials": 1200.0}},
        "peak_memory_bytes": 1_000_000_000,
    }
    return SearchRecord.model_validate({**values, **changes})


def shortened(**changes: Any) -> SearchRecord:
    """A search of ten epochs a trial; trial 7 was the best of them."""
    record = searched(**changes)
    epochs = record.trials[0].epochs

    def outcome(value: float) -> Outcome:
        return Outcome(state="complete", value=value, log_loss=0.8, seconds=60.0, epochs=epochs)

    finals = {0: outcome(0.61), 7: outcome(0.58 if record.chosen == 0 else 0.65)}
    return record.model_copy(update={"search_epochs": 10, "finals": finals})


def _drawn(axis: Any, chance: random.Random) -> Any:
    if hasattr(axis, "choices"):
        return chance.choice(axis.choices)
    if isinstance(axis.low, int):
        return chance.randint(axis.low, axis.high)
    if axis.log:
        return 10 ** chance.uniform(log10(axis.low), log10(axis.high))
    return chance.uniform(axis.low, axis.high)


def text(page: str) -> str:
    """The page's words."""
    return re.sub(r"\s+", " ", re.sub(r"<(style|script|svg).*?</\1>|<[^>]+>", "", page, flags=re.DOTALL))


def test_the_page_says_what_tuning_gained() -> None:
    record = searched()
    page = text(render_search(record))
    assert record.before is not None
    after, before = (one.metrics["test"].accuracy for one in (record.after, record.before))
    assert f"{after.value:.1%} of test photos right instead of {before.value:.1%}" in page
    assert "+4.0 points (95% interval +1.1 to +6.8, p = 0.006)" in page
    assert "shown to be better" in page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"verdict": "no difference shown"}, "No gain is shown from tuning convnet"),
        ({"verdict": "worse"}, "does worse on test"),
        ({"chosen": 0}, "No trial beat the recipe that tuning convnet started from"),
        ({"tested": False}, "Not tested. On validation photos, the best recipe for convnet"),
        ({"started": False, "tested": False}, "could not be trained to the end"),
        ({"trials": 1}, "No trial beat the recipe"),
        ({"trials": 3}, "Too few trials, or too much alike, to tell what mattered"),
        ({"asked": 40}, "The budget had room for 30 of the 40 trials"),
        ({"name": "squeezenet1_1", "regime": "weights+augment"}, "its body frozen"),
    ],
)
def test_every_outcome_has_its_words(changes: dict[str, Any], said: str) -> None:
    assert said in text(render_search(searched(**changes)))


def test_shortened_trials_are_told_of() -> None:
    page = text(render_search(shortened(chosen=7)))
    assert "trials were trained for 10 epochs instead of 30" in page
    assert "of test photos right instead of" in page
    kept = text(render_search(shortened(chosen=0)))
    assert "No trial beat the recipe" in kept
    assert "Trial 7 was the best of 30 short ones; trained in full, it gets 58.0% of validation photos right" in kept


def test_every_trial_is_in_the_table_and_in_the_history() -> None:
    record = searched()
    page = render_search(record)
    history = page[page.index('id="history"') : page.index('id="importance"')]
    assert history.count("<circle") == 30
    assert [history.count(f'"t {kind}" c') for kind in ("chosen", "start")] == [1, 1]
    table = page[page.index('id="trials"') : page.index('id="data"')]
    assert table.count("<tr") == 31
    for one in record.trials:
        assert f"{one.parameters['learning_rate']:g}" in table


def test_what_mattered_comes_first() -> None:
    record = searched()
    assert [one.name for one in slices(record)[:3]] == ["learning_rate", "dropout", "optimiser"]
    together = parallel(record)
    assert together is not None
    assert together.axes[-1].name == "learning_rate", "beside the accuracy, on the right"
    assert together.lines[-1][0].number == record.chosen


def test_a_label_cannot_run() -> None:
    evil = "<script>alert(1)</script>"
    record = searched()
    data = record.data.model_copy(update={"source": evil, "warnings": [evil]})
    page = render_search(record.model_copy(update={"data": data, "command": evil}))
    assert evil not in page
    assert page.count("<script>") == 1


@pytest.mark.parametrize("tested", [True, False])
@pytest.mark.parametrize("started", [True, False])
def test_the_page_is_whole_and_loads_nothing(tested: bool, started: bool) -> None:
    whole_page(render_search(searched(tested=tested, started=started)))


def test_scales_know_names_and_numbers() -> None:
    lanes = Scale.of(["zoom", "shift"], "augment")
    assert lanes.at("shift") == 0.25
    assert lanes.at("zoom") == 0.75
    rates = Scale.of([1e-3, 1e-1], "learning_rate")
    assert rates.at(1e-2) == pytest.approx(0.5)
    assert Scale.of([0.0, 0.4], "dropout").at(0.2) == pytest.approx(0.5)
    assert 0 <= Scale.of([0.0, 0.0], "weight_decay").at(0.0) <= 1
