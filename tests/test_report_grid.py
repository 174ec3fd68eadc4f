"""The comparison's page: true to its figures, whole for every record, safe for every label."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from importlib import resources
from itertools import combinations
from math import exp, log

import pytest
import torch
from PIL import Image

from drawn import Held, encoded, picture
from kramar.data.manifest import Entry
from kramar.models import architectures as known
from kramar.records import DataRecord, Epoch, Estimate, LeftOut, Metrics, Verification
from kramar.report import grid_charts as charts
from kramar.report.grid import points, render_grid
from kramar.report.variants import Paired, Variant, by_architecture, picks, variants
from kramar.study.pictures import SHOWN, Pictures, words
from kramar.study.records import ComparisonRecord, GridRecord, TrialRecord
from kramar.study.settings import NO_TRANSFER, REGIMES, Setting, default_recipe
from kramar.training.augment import POLICIES
from kramar.training.material import Material
from pages import Reader, whole_page
from report_records import HOSTILE, wilson
from test_report import luminance

# Name: (accuracy by regime, parameters, milliseconds a photo), as the thesis and two cores have them.
NETWORKS = {
    "convnet": ((None, None, 0.612), 1_213_000, 1.9),
    "densenet121": ((0.861, 0.887, 0.742), 7_978_856, 43.1),
    "inception_v3": ((0.842, 0.871, 0.701), 23_834_568, 61.4),
    "squeezenet1_1": ((0.779, 0.812, 0.645), 1_235_496, 6.9),
    "mobilenet_v2": ((0.848, 0.883, 0.718), 3_504_872, 7.4),
    "efficientnet_lite0": ((0.852, 0.884, 0.733), 4_652_008, 8.2),
}
N = 2485
Made = tuple[list[Setting], GridRecord]


def setting(name: str, regime: str, seed: int = 0) -> Setting:
    architecture = known.find(name)
    transfer = "frozen" if REGIMES[regime].weights else NO_TRANSFER
    return Setting(architecture, regime, transfer, default_recipe(architecture, regime, transfer), seed)


def scores(accuracy: float, n: int) -> Metrics:
    def about(value: float) -> Estimate:
        return Estimate(value=value, low=max(value - 0.018, 0.0), high=min(value + 0.018, 1.0), n=n)

    return Metrics(
        accuracy=wilson(round(accuracy * n), n),
        top5=wilson(round(min(accuracy + 0.1, 1) * n), n),
        balanced_accuracy=about(accuracy - 0.02),
        macro_f1=about(accuracy - 0.03),
        log_loss=about(-log(accuracy) * 2),
        calibration_error=about(0.024),
    )


def trial(one: Setting, accuracy: float, parameters: int, milliseconds: float, tested: bool = True) -> TrialRecord:
    """A trial as it could have come out."""
    chance = random.Random(one.key)
    accuracy += chance.gauss(0, 0.004)
    epochs = one.recipe.epochs - (chance.randrange(22) if one.frozen else 0)
    pace = 4.0 if one.frozen else 7.0
    head = 600_000 if one.frozen else 0
    curve = [
        Epoch(
            number=number,
            train_loss=0.75 + 3.4 * exp(-number / pace) + chance.uniform(0, 0.05) + 0.5 * (not one.frozen),
            val_loss=0.5 + 3.6 * exp(-number / pace) + chance.uniform(0, 0.05),
            val_accuracy=min(
                1.0, max(0.012, (accuracy + 0.015) * (1 - exp(-(number + 0.6) / pace)) + chance.gauss(0, 0.006))
            ),
            seconds=4.0,
        )
        for number in range(epochs)
    ]
    seconds = parameters / 90_000 * (1 if one.frozen else 30) * chance.uniform(0.95, 1.05)
    return TrialRecord(
        architecture=one.architecture.name,
        regime=one.regime,
        transfer=one.transfer,
        seed=one.seed,
        size=one.architecture.resize.size,
        recipe=asdict(one.recipe),
        epochs=curve,
        metrics={"val": scores(accuracy + 0.01, 296), **({"test": scores(accuracy, N)} if tested else {})},
        parameters=parameters + head,
        bytes=4 * (parameters + head) + 190_000,
        milliseconds=milliseconds * chance.uniform(0.98, 1.03),
        photos_per_second=1700 / milliseconds,
        train_seconds=seconds,
        seconds=seconds + 30,
        energy_joules=None,
        weights_source="torchvision IMAGENET1K_V1" if REGIMES[one.regime].weights else "none: trained from scratch",
        weights_licence="BSD-3-Clause" if REGIMES[one.regime].weights else "",
        verification=Verification(photos=296, label_differences=0, largest_difference=2.4e-6),
    )


def proven(trials: Sequence[TrialRecord], n: int = N) -> list[ComparisonRecord]:
    """Each pair of variants once, with a plausible p."""
    by_variant: dict[str, list[float]] = {}
    for one in trials:
        by_variant.setdefault(one.variant, []).append(one.metrics["test"].accuracy.value)
    means = {name: sum(values) / len(values) for name, values in by_variant.items()}
    tests = []
    for first, second in combinations(means, 2):
        difference = means[first] - means[second]
        p = min(1.0, 2.2 * exp(-abs(difference) / 0.0035))
        tests.append(
            ComparisonRecord(
                first=first,
                second=second,
                difference=Estimate(value=difference, low=difference - 0.013, high=difference + 0.013, n=n),
                p=p,
                adjusted=min(1.0, 10 * p),
                verdict="no difference shown" if 10 * p > 0.05 else "better" if difference > 0 else "worse",
            )
        )
    return tests


def comparison(settings: Sequence[Setting], trials: Sequence[TrialRecord], **changes: object) -> GridRecord:
    """``run.json`` of a comparison."""
    tested = all("test" in one.metrics for one in trials)
    values: dict[str, object] = {
        "kramar": "0.1.0",
        "command": "kramar compare photos/grocery/products.csv --out kramar-runs/grocery-compare --architectures "
        + ",".join(dict.fromkeys(one.architecture.name for one in settings))
        + " --regimes weights,weights+augment,scratch+augment --seeds 3 --budget 6h",
        "started": "2026-03-04T14:02:11+00:00",
        "seed": 0,
        "machine": {
            "system": "Linux x86_64",
            "processor": "AMD EPYC 7B13",
            "cores": 2,
            "memory_bytes": 8_000_000_000,
            "python": "3.11.7",
        },
        "data": DataRecord(
            source="photos/grocery/products.csv",
            photos=5421,
            classes=81,
            fingerprint="b3f1c09a5de24477b1c8",
            split={"train": 2640, "val": 296, "test": N if tested else 0},
            split_from="table",
            left_out={"unreadable": 1, "missing": 1},
            left_out_files=[
                LeftOut(image="train/Apple/0032.jpg", kind="unreadable", detail="cannot identify image file"),
                LeftOut(image="test/Milk/0007.jpg", kind="missing", detail="no such file"),
            ],
            warnings=["The validation part covers 60 of the 81 categories."],
        ),
        "trials": list(trials),
        "tests": proven(trials) if tested else [],
        "left_out_trials": [],
        "estimate": {"trials": 15_120.0, "took": 14_033.0},
        "seconds": {
            "total": 14_310.0,
            "rooms": {"data": 1.4, "decoding": 96.0, "trials": 14_033.0, "evaluate": 4.1, "report": 2.2},
        },
        "peak_memory_bytes": 2_140_000_000,
    }
    return GridRecord.model_validate(values | changes)


def full(seeds: int = 3, tested: bool = True, names: Sequence[str] = tuple(NETWORKS)) -> Made:
    """Networks x regimes x seeds, but for the weights that convnet does not have."""
    settings, trials = [], []
    for seed in range(seeds):
        for name in names:
            accuracies, parameters, milliseconds = NETWORKS[name]
            for regime, accuracy in zip(REGIMES, accuracies, strict=True):
                if accuracy is not None:
                    settings.append(setting(name, regime, seed))
                    trials.append(trial(settings[-1], accuracy, parameters, milliseconds, tested))
    return settings, comparison(settings, trials)


def pictures(settings: Sequence[Setting], label: str = "Golden-Delicious") -> Pictures:
    """Of three drawn photos."""
    entries = [
        Entry(
            f"train/{number}.jpg",
            Held(encoded(picture(96, 80, number), "JPEG")),
            f"{number:x}" * 64,
            label,
            label,
            "",
            "train",
        )
        for number in (3, 1, 2)
    ]
    return Pictures(settings, Material({"train": entries, "val": [], "test": []}, [label]))


def many() -> Made:
    """Eighteen architectures in three regimes, once each; some trials left out."""
    names = [
        *("densenet121", "densenet169", "densenet201", "inception_v3", "squeezenet1_0", "squeezenet1_1"),
        *("mobilenet_v1", "mobilenet_v2", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"),
        *("mobilenetv4_small", "convnextv2_atto", "convnet", "convnet:depth=5", "convnet:depth=6:width=96"),
        *("efficientnet_lite0@160", "densenet121@320"),
    ]
    chance = random.Random(3)
    settings, trials = [], []
    for name in names:
        parameters = int(chance.choice([1.2e6, 2.5e6, 4e6, 7e6, 14e6, 20e6]) * chance.uniform(0.8, 1.2))
        base = 0.6 + 0.09 * log(parameters / 1e6 + 1) + chance.uniform(-0.05, 0.05)
        for regime, more in zip(REGIMES, (0.0, 0.04, -0.12), strict=True):
            settings.append(setting(name, regime))
            trials.append(trial(settings[-1], base + more, parameters, parameters / 1e6 * chance.uniform(1.5, 4)))
    return settings, comparison(settings, trials, left_out_trials=["densenet201, scratch+augment, seed 1: no time"] * 7)


def one() -> Made:
    settings = [setting("densenet121", "weights+augment")]
    return settings, comparison(settings, [trial(settings[0], 0.887, 7_978_856, 43.1)])


def changed(found: Made, change: Callable[[TrialRecord], dict[str, object]], **more: object):
    settings, record = found
    trials = [one.model_copy(update=change(one)) for one in record.trials]
    return settings, record.model_copy(update={"trials": trials, **more})


def unmeasured() -> Made:
    def change(one: TrialRecord) -> dict[str, object]:
        epochs = [epoch.model_copy(update={"val_loss": None, "val_accuracy": None}) for epoch in one.epochs]
        return {"metrics": {}, "epochs": epochs}

    return changed(full(seeds=1, names=SMALL), change, tests=[])


def metered() -> Made:
    note = "weights of another size were interpolated"
    return changed(full(seeds=1, names=SMALL), lambda one: {"energy_joules": 41 * one.train_seconds, "notes": [note]})


def hostile() -> Made:
    """Names that would be code, wherever a name may stand."""
    settings, record = full(seeds=2, names=("mobilenet_v2",))

    def change(one: TrialRecord) -> dict[str, object]:
        recipe = one.recipe | {"activation": HOSTILE, HOSTILE: HOSTILE}
        return {"architecture": HOSTILE, "notes": [HOSTILE], "weights_source": HOSTILE, "recipe": recipe}

    trials = [one.model_copy(update=change(one)) for one in record.trials]
    data = record.data.model_copy(
        update={
            "source": HOSTILE,
            "warnings": [HOSTILE],
            "left_out_files": [LeftOut(image=HOSTILE, kind=HOSTILE, detail=HOSTILE)],
        }
    )
    update = {"trials": trials, "tests": proven(trials), "data": data, "left_out_trials": [HOSTILE], "command": HOSTILE}
    return settings, record.model_copy(update=update)


SMALL = ("mobilenet_v2", "convnet")
KINDS: dict[str, Callable[[], Made]] = {
    "full": full,
    "one": one,
    "no test": lambda: full(tested=False),
    "many": many,
    "one architecture": lambda: full(names=["mobilenet_v2"]),
    "two variants": lambda: only(2),
    "one epoch": lambda: changed(full(seeds=2, names=SMALL), lambda one: {"epochs": one.epochs[:1]}),
    "no epochs": lambda: changed(full(seeds=1, names=SMALL), lambda one: {"epochs": []}),
    "unmeasured": unmeasured,
    "metered": metered,
    "perfect": lambda: changed(one(), lambda one: {"metrics": {"test": scores(1.0, N)}}),
    "hostile": hostile,
}


def only(count: int) -> Made:
    """So many of one seed's variants."""
    settings, record = full(seeds=1)
    trials = record.trials[:count]
    return settings[:count], comparison(settings[:count], trials)


@cache
def page(kind: str) -> str:
    settings, record = KINDS[kind]()
    return render_grid(record, pictures(settings, HOSTILE if kind == "hostile" else "Golden-Delicious"))


@cache
def reader(kind: str) -> Reader:
    return Reader(page(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_every_record_gives_a_whole_page_that_loads_nothing(kind: str) -> None:
    found = whole_page(page(kind))
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in found.all("svg"))
    assert all(picture["alt"] and picture["src"].startswith("data:image/jpeg") for picture in found.all("img"))
    assert not re.search(r"\b(nan|inf|None|Undefined)\b", found.text)


@pytest.mark.parametrize("kind", KINDS)
def test_positions_are_inside_their_charts(kind: str) -> None:
    shares = [float(share) for share in re.findall(r"--[slhv]:(-?[\d.e-]+)", page(kind))]
    assert all(0 <= share <= 1 for share in shares)
    for chart in re.findall(r"<svg.*?</svg>", page(kind), re.DOTALL):
        assert chart.count('class="grid"') <= 14
        for right, down in re.findall(r"[ML](-?[\d.e+-]+) (-?[\d.e+-]+)", chart):
            assert -1 <= float(right) <= charts.SCATTER_WIDTH + 1
            assert -8 <= float(down) <= charts.SCATTER_HEIGHT + 1


def test_the_headline_names_the_best_and_what_is_not_worse() -> None:
    text = reader("full").text
    best = variants(full()[1].trials)[0]
    assert best.name == "densenet121, weights+augment, frozen"
    assert best.accuracy is not None
    assert "densenet121 does best: about 89 of 100 photos like these get the right category." in text
    assert (
        "Trained with ImageNet weights and augmentation. 95% interval 87 to 91, mean of 3 seeds, measured on 2,485"
        in text
    )
    assert (
        "Of the 15 others, 3 are not shown to be worse: efficientnet_lite0, mobilenet_v2 and inception_v3 "
        "with ImageNet weights and augmentation." in text
    )
    assert "Smallest file, fastest of those not shown to be worse mobilenet_v2" in text


def test_picks_are_the_least_of_those_not_shown_to_be_worse() -> None:
    found = variants(full()[1].trials)
    not_worse = Paired.of(full()[1].tests).not_worse(found)
    chosen = {title: pick.variant for pick in picks(found, not_worse) for title in pick.titles}
    group = [found[0], *not_worse]
    assert chosen["Most accurate"] is found[0]
    assert chosen["Smallest file"].figure("bytes") == min(one.figure("bytes") for one in group)
    assert chosen["Fastest"].figure("milliseconds") == min(one.figure("milliseconds") for one in group)
    assert [pick.titles for pick in picks(found, [])] == [["Most accurate"]]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("one", "densenet121 is right on about 89 of 100 photos like these."),
        ("one", "There is one variant, and so nothing to compare it with."),
        ("one", "There is one variant, and so no front to draw"),
        ("no test", "Not tested. On validation photos, densenet121 does best: about 90 of 100 get the right category."),
        ("no test", "Nothing: paired tests need test photos."),
        ("no test", "Nothing was tested: no test photos were set aside."),
        ("many", "7 trials are not compared: see what was left out."),
        ("many", "densenet201, scratch+augment, seed 1"),
        ("many", "Each variant was trained once, from one seed."),
        ("many", "the 24 most accurate of 54 variants"),
        ("one architecture", "Both others are shown to be worse."),
        ("unmeasured", "4 variants trained, but nothing was measured."),
        ("unmeasured", "There were no validation photos to judge epochs by."),
        ("no epochs", "No epoch was recorded."),
        ("perfect", "densenet121 made no mistake on the 2,485 test photos."),
        ("metered", "Wh, one seed"),
        ("metered", "weights of another size were interpolated all variants"),
        ("full", "No trial was left out."),
        ("full", "1 unreadable, 1 missing. Neither trained nor scored on."),
        ("full", "expected to take 4 h 12 min on this machine, and took 3 h 54 min (7% less)"),
        ("full", "The validation part covers 60 of the 81 categories."),
        ("full", "AMD EPYC 7B13"),
        ("full", "torchvision IMAGENET1K_V1"),
        ("full", "trained from scratch only"),
    ],
)
def test_records_are_told_plainly(kind: str, words: str) -> None:
    assert words in reader(kind).text


def test_energy_is_told_only_where_a_machine_told_it() -> None:
    assert "Energy" not in reader("full").text


@pytest.mark.parametrize("kind", ["full", "many", "no test"])
def test_every_variant_is_named_with_its_figures(kind: str) -> None:
    record, text = KINDS[kind]()[1], reader(kind).text
    for one in variants(record.trials):
        assert one.accuracy is not None
        named = f"{one.architecture} {one.way.short}"
        assert named in text
        assert f"{one.accuracy.value:.1%}" in text
        assert f"{100 * one.accuracy.low:.1f} to {100 * one.accuracy.high:.1f}" in text
        assert f"{one.parameters:,}" in text
    assert record.command in text
    assert record.data.fingerprint in text
    for file in ("comparison.csv", "curves.csv"):
        assert file in text
    assert ("tests.csv" in text) == bool(record.tests)


def test_each_seed_is_a_dot_and_the_mean_has_an_interval() -> None:
    html, record = page("full"), full()[1]
    assert html.count('<i class="seed"') == len(record.trials)
    assert page("many").count('<i class="seed"') == 0
    best = variants(record.trials)[0]
    assert best.accuracy is not None
    assert len(best.seeds) == 3
    assert best.accuracy.value == pytest.approx(sum(best.seeds) / 3)
    assert best.accuracy.n == N
    assert best.accuracy.high - best.accuracy.low == pytest.approx(2 * 1.96 * (0.89 * 0.11 / N) ** 0.5, rel=0.02)


@pytest.mark.parametrize("cost", ["bytes", "milliseconds"])
@pytest.mark.parametrize("kind", ["full", "many"])
def test_the_front_holds_whatever_nothing_beats(kind: str, cost: str) -> None:
    found = variants(KINDS[kind]()[1].trials)
    drawn = charts.scatter(found, cost)
    assert drawn is not None

    def beaten(one: Variant) -> bool:
        return any(other.figure(cost) <= one.figure(cost) and accuracy(other) > accuracy(one) for other in found)

    on_front = {point.variant.name for point in drawn.points if point.on_front}
    assert on_front == {one.name for one in found if not beaten(one)}
    assert [point.variant.name for point in drawn.front] == sorted(on_front, key=lambda name: costs(found, cost)[name])
    heights = [point.y for point in drawn.front]
    assert heights == sorted(heights, reverse=True)


def accuracy(one: Variant) -> float:
    assert one.accuracy is not None
    return one.accuracy.value


def costs(found: Sequence[Variant], cost: str) -> dict[str, float]:
    return {one.name: one.figure(cost) for one in found}


@pytest.mark.parametrize("kind", ["full", "many"])
def test_labels_of_a_scatter_do_not_lie_on_each_other(kind: str) -> None:
    drawn = charts.scatter(variants(KINDS[kind]()[1].trials), "bytes")
    assert drawn is not None
    assert len({label.full for label in drawn.labels}) == len(drawn.labels) >= 5
    shift = {"start": 0.0, "middle": 0.5, "end": 1.0}
    boxes = []
    for label in drawn.labels:
        left = label.x - 6.0 * len(label.text) * shift[label.anchor]
        boxes.append((left, label.y - 9, left + 6.0 * len(label.text), label.y + 2))
    for one, other in combinations(boxes, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_the_matrix_has_opposite_signs_across_its_diagonal() -> None:
    found = variants(full()[1].trials)
    rows = Paired.of(full()[1].tests).rows(found)
    for at, row in enumerate(rows):
        assert row[at] is None
        for to, cell in enumerate(row):
            if at == to:
                continue
            other = rows[to][at]
            assert cell is not None
            assert other is not None
            assert cell.difference.value == -other.difference.value
            assert (cell.difference.low, cell.difference.high) == (-other.difference.high, -other.difference.low)
            assert cell.shown == -other.shown
            assert cell.shown == (0 if cell.adjusted > 0.05 else 1 if cell.difference.value > 0 else -1)
            assert cell.difference.value == pytest.approx(accuracy(found[at]) - accuracy(found[to]), abs=1e-9)


def test_cells_of_the_matrix_tell_their_p() -> None:
    cells = [cell for cell in reader("full").all("td") if cell.get("class") in ("better", "even", "worse")]
    assert len(cells) == 16 * 15
    assert all(re.search(r"points, 95% interval \S+ to \S+, adjusted p [=<] [\d.e-]+: ", one["title"]) for one in cells)
    assert sum(cell["class"] == "better" for cell in cells) == sum(cell["class"] == "worse" for cell in cells) > 0
    words = {"better": "better", "worse": "worse", "even": "no difference shown"}
    assert all(cell["title"].endswith(f": {words[cell['class']]}") for cell in cells)


def test_curves_have_a_line_a_variant_and_a_thin_one_a_seed() -> None:
    grouped = by_architecture(variants(full()[1].trials))
    drawn = charts.curves(grouped, "val_accuracy")
    assert drawn is not None
    assert set(drawn.panels) == set(NETWORKS)
    assert {name: len(lines) for name, lines in drawn.panels.items()} == {
        name: 1 if name == "convnet" else 3 for name in NETWORKS
    }
    for lines in drawn.panels.values():
        for line in lines:
            assert len(line.seeds) == 3
            shortest = min(len(trial.epochs) for trial in line.variant.trials)
            assert line.mean.count("L") == shortest - 1


def test_the_policies_in_use_are_named_and_pictured() -> None:
    found = reader("full")
    assert "The same photo, nine ways" in found.text
    assert "trivial strength 0.5 As zoom, then one operation drawn at random" in found.text
    assert "shift strength 0.5 Moved by up to a quarter" in found.text
    assert len(found.all("img")) == 1 + 9 + 9
    assert "Photo of Golden-Delicious, as it is: train/1.jpg" in [picture["alt"] for picture in found.all("img")]


def test_recipes_say_where_they_differ() -> None:
    text = reader("full").text.replace(" ", "")
    assert "There were 4 recipes." in reader("full").text
    assert "weights,augmented(allarchitectures)600.0010.020.2512,256trivial015" in text
    assert "fromscratch,augmented(convnet)300.0030.050noneshift0.990" in text
    assert "Thesameforallbatch64optimiseradamw" in text


def test_hostile_names_stay_text() -> None:
    html = page("hostile")
    assert "<script>alert" not in html
    assert "evil.example" in html
    assert not [picture for picture in reader("hostile").all("img") if "evil" in picture["src"]]
    assert not re.search("[\x00\ud800-\udfff]", html)


@pytest.mark.parametrize(
    ("values", "most", "ticks"),
    [
        ([0.592, 0.902], 1.0, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ([0.873, 0.898], 1.0, [0.87, 0.875, 0.88, 0.885, 0.89, 0.895, 0.9]),
        ([1.0, 1.0], 1.0, [0.999, 1.0]),
        ([0.0, 4.6], None, [0, 1, 2, 3, 4, 5]),
        ([11.3e6, 20.7e6], None, [10e6, 12e6, 14e6, 16e6, 18e6, 20e6, 22e6]),
    ],
)
def test_axes_have_round_even_ticks_around_the_values(
    values: list[float], most: float | None, ticks: list[float]
) -> None:
    axis = charts.linear(values, steps=6, most=most)
    assert axis.ticks == pytest.approx(ticks)
    assert axis.at(axis.low) == 0
    assert axis.at(axis.high) == 1


@pytest.mark.parametrize("values", [[4.1e6, 98e6], [5e6, 5e6], [0.9, 1.1], [0.01, 9_000], [14.2e6, 16.6e6]])
def test_logarithmic_axes_hold_their_values_and_a_few_ticks(values: list[float]) -> None:
    axis = charts.logarithmic(values)
    assert all(0 < axis.at(value) < 1 for value in values)
    assert 2 <= len(axis.ticks) <= 7
    assert axis.at((axis.low * axis.high) ** 0.5) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0123, "+1.2"), (-0.0004, "0.0"), (-0.004, "−0.4"), (0.123, "+12"), (0.0995, "+10"), (0, "0.0")],
)
def test_differences_are_told_in_points(share: float, said: str) -> None:
    assert points(share) == said


def test_the_same_photo_is_drawn_the_same_way_each_time() -> None:
    settings = [setting("mobilenet_v2", "weights+augment"), setting("convnet", "scratch+augment")]
    before = torch.get_rng_state()
    first, second = pictures(settings), pictures(settings)
    assert first.entry.image == "train/1.jpg"
    drawn = first.nine("trivial", 0.5)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(drawn) == 9
    assert drawn == second.nine("trivial", 0.5)
    assert len(set(drawn)) > 6
    assert len(set(first.nine("none", 0.5))) == 1
    assert first.plain() == second.plain()


def test_pictures_have_the_size_that_they_were_drawn_at_or_what_the_page_shows() -> None:
    shown = pictures([setting("mobilenet_v2", "weights+augment"), setting("convnet", "scratch+augment")])
    for policy, side in (("trivial", SHOWN), ("shift", 64)):
        for picture_ in shown.nine(policy, 0.5):
            assert Image.open(io.BytesIO(picture_)).size == (side, side)
            assert Image.open(io.BytesIO(picture_)).format == "JPEG"


def test_a_photo_that_is_gone_is_said_to_be() -> None:
    settings = [setting("mobilenet_v2", "weights+augment")]
    entry = Entry("a.jpg", Held(b"no photo"), "f" * 64, "Cup", "Cup", "", "train")
    gone = Pictures(settings, Material({"train": [entry], "val": [], "test": []}, ["Cup"]))
    assert gone.plain() is None
    assert gone.nine("trivial", 0.5) == []
    record = comparison(settings, [trial(settings[0], 0.88, 3_504_872, 7.4)])
    assert "The photo can no longer be read." in Reader(render_grid(record, gone)).text


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_says_what_it_does(policy: str) -> None:
    assert words(policy).endswith(".")
    assert "`" not in words(policy)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), [("other", "paper"), ("on-other", "other-wash"), ("on-light", "h2")])
def test_text_can_be_read_on_its_ground(scheme: int, text: str, ground: str) -> None:
    colours: dict[str, str] = {}
    for file in ("style.css", "grid.css"):
        css = resources.files("kramar.report").joinpath(file).read_text(encoding="utf-8")
        block = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[scheme]
        colours |= dict(re.findall(r"--([\w-]+): (#\w{6});", block))
    light, dark = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
