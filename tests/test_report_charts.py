"""The report's charts, pictures and words, on values."""

from __future__ import annotations

import pytest

from kramar.records import CalibrationBin, ClassScore, Confusion, CurvePoint, Estimate
from kramar.report import wording
from kramar.report.album import ALBUM_BYTES, PICTURE_BYTES, Album, shelves
from kramar.report.charts import coverage, reliability, skyline, thirds, ticks, waffle
from kramar.report.confusion import heat_map
from report_records import wilson


def test_album_takes_turns_and_stops_asking_when_full() -> None:
    asked: list[str] = []

    def thumbnail(image: str) -> bytes:
        asked.append(image)
        return b"\x89PNG" + bytes(30_000)

    filled = shelves(Album(thumbnail, left=PICTURE_BYTES + 70_000), {"a": ["a1", "a2"], "b": ["b1", "b2"]})
    assert asked == ["a1", "b1"]
    assert [print_.image for print_ in filled["b"].prints] == ["b1"]
    assert filled["a"].left_off == filled["b"].left_off == 1


@pytest.mark.parametrize("content", [None, b"GIF89a", b"\xff\xd8\xff" + bytes(PICTURE_BYTES)])
def test_album_passes_over_what_it_cannot_hold(content: bytes | None) -> None:
    album = Album(lambda _: content)
    assert album.picture("photo.jpg") is None
    assert album.left == ALBUM_BYTES


def test_waffle_counts_squares() -> None:
    chart = waffle(74, 94, 100)
    assert chart.counts == {"right": 74, "near": 20, "rest": 6}
    assert {key: path.count("M") for key, path in chart.paths.items()} == chart.counts
    assert chart.paths["right"].startswith("M0 0h8v8h-8z")
    assert (chart.width, chart.height) == (98, 98)
    wide = waffle(997, 997, 1000)
    assert wide.counts == {"right": 997, "rest": 3}
    assert (wide.width, wide.height) == (398, 248)
    assert wide.paths["rest"].startswith("M370 240h8")
    assert waffle(100, 100, 100).counts == {"right": 100}
    assert waffle(0, 0, 100).counts == {"rest": 100}


@pytest.mark.parametrize(
    ("highest", "expected"),
    [(0, [0, 1]), (1, [0, 1]), (7, [0, 2, 4, 6, 8]), (143, [0, 50, 100, 150]), (1000, [0, 200, 400, 600, 800, 1000])],
)
def test_ticks_are_round(highest: int, expected: list[int]) -> None:
    assert ticks(highest) == expected


def test_skyline_stacks_parts_to_scale() -> None:
    chart = skyline([{"train": 60, "val": 0, "test": 40}, {"train": 50}])
    assert chart.ticks[-1] == 100
    assert chart.paths["train"] == "M0 200v-120h390v120zM500 200v-100h390v100z"
    assert chart.paths["test"] == "M0 80v-80h390v80z"
    assert chart.paths["val"] == ""


def test_reliability_points_and_thirds() -> None:
    bins = [
        CalibrationBin(confidence=said, accuracy=right, n=n)
        for said, right, n in ((0.2, 0.3, 10), (0.5, 0.5, 10), (0.9, 1.0, 30), (0.4, 0.4, 0))
    ]
    chart = reliability(bins)
    assert chart.points == [(60, 210), (150, 150), (270, 0)]
    assert chart.line == "M60 210L150 150L270 0"
    low, high = thirds(bins) or pytest.fail("three bins have thirds")
    assert (low.n, high.n) == (10, 30)
    assert [low.accuracy, high.confidence] == pytest.approx([0.3, 0.9])
    assert thirds(bins[:2]) is None
    assert reliability([]).line == ""


def test_heat_map_puts_confused_classes_side_by_side() -> None:
    def score(label: str, right: int, n: int) -> ClassScore:
        return ClassScore(
            label=label, category=label, photos={"test": n}, recall=wilson(right, n), precision=None, f1=None
        )

    classes = [score("a", 5, 10), score("b", 18, 20), score("c", 4, 8), score("d", 3, 3), score("e", 8, 9)]
    confusions = [
        Confusion(truth="a", predicted="c", count=5, of=10),
        Confusion(truth="c", predicted="a", count=4, of=8),
        Confusion(truth="b", predicted="e", count=2, of=20),
    ]
    chart = heat_map(confusions, classes)
    assert chart is not None
    assert chart.labels in (["a", "c", "b", "e"], ["c", "a", "b", "e"])
    at = {label: place for place, label in enumerate(chart.labels)}
    assert chart.of == [{"a": 10, "b": 20, "c": 8, "e": 9}[label] for label in chart.labels]
    cell = chart.rows[at["a"]][at["c"]]
    assert (cell.count, cell.level) == (5, 5)
    assert (chart.rows[at["b"]][at["e"]].level, chart.rows[at["e"]][at["b"]].level) == (2, 0)
    assert chart.rows[at["b"]][at["b"]].count == 18
    assert chart.unlisted == 1
    assert chart.levels == [2, 5]
    assert len((heat_map(confusions, classes, limit=2) or chart).labels) == 2
    assert heat_map([], classes) is None


def test_headline_never_claims_all_or_none() -> None:
    near = wording.headline(Estimate(value=0.9996, low=0.99, high=1.0, n=5000), 1000)
    assert (near.of, near.about, near.low, near.high) == (1000, 999, 990, 1000)
    plain = wording.headline(Estimate(value=0.29, low=0.29, high=0.301, n=100), 100)
    assert (plain.of, plain.about, plain.low, plain.high) == (100, 29, 29, 31)
    assert wording.headline(Estimate(value=0.002, low=0.0, high=0.02, n=500), 100).about == 1
    assert (wording.whole_share(0.9996), wording.whole_share(0.001), wording.whole_share(1)) == (">99%", "<1%", "100%")


@pytest.mark.parametrize(
    ("value", "n", "of"), [(0.997, 1000, 1000), (0.997, 999, 100), (0.003, 5000, 1000), (0.9, 5000, 100), (1, 20, 100)]
)
def test_a_thousand_is_told_of_only_near_an_end_and_with_photos_enough(value: float, n: int, of: int) -> None:
    assert wording.unit(Estimate(value=value, low=0, high=1, n=n)) == of


@pytest.mark.parametrize("key", wording.KINDS)
def test_kinds_of_what_is_left_out_are_words(key: str) -> None:
    for number in (1, 2):
        assert "_" not in wording.kind(key, number)
    assert wording.kind("near_duplicate", 3) == "near duplicate"
    assert (wording.kind("bad_row"), wording.kind("bad_row", 2)) == ("broken table row", "broken table rows")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (wording.counted(1, "photo"), "1 photo"), (wording.counted(2485, "photo"), "2,485 photos"),
        (wording.counted(0, "category"), "0 categories"), (wording.share(0.9997), ">99.9%"),
        (wording.share(1), "100.0%"), (wording.share(0.0003), "<0.1%"), (wording.share(0), "0.0%"),
        (wording.duration(0.84), "0.8 s"), (wording.duration(59.7), "1 min 00 s"),
        (wording.duration(252), "4 min 12 s"),
        (wording.duration(3599.9), "1 h 00 min"), (wording.size(420_000), "0.42 MB"),
        (wording.size(4_400_000), "4.4 MB"),
        (wording.size(1.94e9), "1.9 GB"), (wording.rate(163.4), "163"), (wording.rate(6.2412), "6.24"),
        (wording.scientific(0), "0"), (wording.scientific(0.02), "0.02"), (wording.when("yesterday"), "yesterday"),
        (wording.last_part("C:\\shop\\photos\\"), "photos"), (wording.last_part("/a/b/products.csv"), "b/products.csv"),
        (wording.above("Fruit/Apple/Gala"), "Fruit › Apple"), (wording.above("Gala"), ""),
        (wording.by_part({"train": 2640, "val": 0}), "2,640 training, 0 validation"),
    ],
)  # fmt: skip
def test_figures_in_words(written: str, expected: str) -> None:
    assert written == expected


def test_precision_is_drawn_from_a_whole_tenth_below_all_of_it() -> None:
    points = [
        CurvePoint(threshold=0.9, coverage=0.5, precision=1.0),
        CurvePoint(threshold=0.1, coverage=1, precision=0.73),
    ]
    drawn = coverage(points, 0.98)
    assert drawn.floor == 0.7
    assert [round(tick, 2) for tick, _ in drawn.ticks] == [0.7, 0.8, 0.9, 1.0]
    assert [y for _, y in drawn.ticks] == [300, 200, 100, 0]
    assert drawn.line == "M150 0L300 270"
    assert [round(tick, 2) for tick, _ in coverage([], 0.98).ticks] == [0.9, 0.92, 0.94, 0.96, 0.98, 1.0]
    assert coverage([], 0.98).line == ""
