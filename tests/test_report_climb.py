"""The climb's chart: every measured rung at its time, intervals and all."""

import pytest

from kramar.records import Estimate, Rung
from kramar.report.climb import HEIGHT, WIDTH, climb


def rung(key: str, reached: float, val: float | None, test: float | None = None) -> Rung:
    def around(value: float | None) -> Estimate | None:
        return None if value is None else Estimate(value=value, low=value - 0.05, high=value + 0.05, n=100)

    return Rung(
        rung=key, key=key, seconds=1.0, reached_seconds=reached, val_accuracy=around(val), test_accuracy=around(test),
        bytes=1, milliseconds=1.0, kept=False, why="",
    )  # fmt: skip


def test_marks_are_where_time_and_accuracy_say() -> None:
    chart = climb([rung("head", 60.0, 0.70, 0.72), rung("tail", 600.0, 0.80, 0.82)])
    assert chart is not None
    assert (chart.unit, chart.x.low, chart.x.high) == ("min", 0.0, 10.0)
    head, tail = chart.stops
    assert (head.x, tail.x) == (WIDTH / 10, WIDTH)
    assert [mark.part for mark in head.marks] == ["val", "test"]
    for stop, values in ((head, (0.70, 0.72)), (tail, (0.80, 0.82))):
        for mark, value in zip(stop.marks, values, strict=True):
            assert mark.y == pytest.approx(HEIGHT * (1 - chart.y.at(value)), abs=0.1)
            assert mark.high < mark.y < mark.low
    assert set(chart.stairs) == {"val", "test"}
    assert chart.stairs["val"].startswith(f"M{head.marks[0].x:g} {head.marks[0].y:g}L")


def test_seconds_and_hours_are_told_as_such() -> None:
    assert climb([rung("head", 9.0, 0.7), rung("tail", 90.0, 0.8)]).unit == "s"  # type: ignore[union-attr]
    assert climb([rung("head", 9.0, 0.7), rung("tail", 11_000.0, 0.8)]).unit == "h"  # type: ignore[union-attr]


def test_one_rung_or_none_measured_has_no_chart() -> None:
    assert climb([rung("head", 9.0, 0.7)]) is None
    assert climb([rung("head", 9.0, None), rung("tail", 90.0, None)]) is None


def test_without_test_photos_there_is_one_line() -> None:
    chart = climb([rung("head", 9.0, 0.7), rung("tail", 90.0, 0.8)])
    assert chart is not None
    assert list(chart.stairs) == ["val"]
