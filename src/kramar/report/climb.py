"""The geometry of the climb's chart: accuracy of each rung's model against the time that it took to get there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kramar.records import Estimate, Rung
from kramar.report.grid_charts import Axis, linear

WIDTH, HEIGHT = 720, 240
# Half of the distance between the marks of one rung, so that their intervals do not hide each other.
_APART = 5.0
_MOST_TIME_TICKS = 6
_UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))


@dataclass(frozen=True, slots=True)
class Mark:
    """A rung's accuracy on one part: where it is, and how far its interval reaches."""

    part: str
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Stop:
    """A rung in the chart."""

    rung: Rung
    x: float
    marks: list[Mark]


@dataclass(frozen=True, slots=True)
class Climb:
    """The chart in a box of ``WIDTH`` x ``HEIGHT``, y downwards; ``stairs`` are the lines through each part's marks.

    ``x`` is in the ``unit`` s, min or h.
    """

    unit: str
    x: Axis
    y: Axis
    stops: list[Stop]
    stairs: dict[str, str]


def climb(ladder: Sequence[Rung]) -> Climb | None:
    """The chart of at least two rungs that were measured; None for fewer."""
    measured = [rung for rung in ladder if rung.val_accuracy or rung.test_accuracy]
    if len(measured) < 2:
        return None
    estimates = [one for rung in measured for one in (rung.val_accuracy, rung.test_accuracy) if one]
    y = linear([one.low for one in estimates] + [one.high for one in estimates], most=1.0)
    longest = max(rung.reached_seconds for rung in measured)
    unit, seconds = next((name, size) for name, size in _UNITS if longest >= 3 * size or size == 1)
    x = linear([0.0, longest / seconds], steps=_MOST_TIME_TICKS)
    stops = []
    for rung in measured:
        at = WIDTH * x.at(rung.reached_seconds / seconds)
        both = {"val": rung.val_accuracy, "test": rung.test_accuracy}
        marks = [_mark(part, one, at + (_APART if part == "test" else -_APART), y) for part, one in both.items() if one]
        stops.append(Stop(rung, round(at, 1), marks))
    stairs = {}
    for part in ("val", "test"):
        points = [mark for stop in stops for mark in stop.marks if mark.part == part]
        if len(points) > 1:
            stairs[part] = "M" + "L".join(f"{mark.x:g} {mark.y:g}" for mark in points)
    return Climb(unit, x, y, stops, stairs)


def _mark(part: str, one: Estimate, x: float, y: Axis) -> Mark:
    value, low, high = (round(HEIGHT * (1 - y.at(figure)), 1) for figure in (one.value, one.low, one.high))
    return Mark(part, round(x, 1), value, low, high)
