"""The geometry of a comparison's charts: figures in, positions and SVG paths out. y runs downwards, as in SVG."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log
from statistics import fmean

from kramar.records import Epoch
from kramar.report.variants import Variant
from kramar.study.grid import front

SCATTER_WIDTH, SCATTER_HEIGHT = 400, 300
CURVE_WIDTH, CURVE_HEIGHT = 300, 160
# The power of ten of the finest distance between ticks: a tenth of a point.
_FINEST = -3
_MOST_TICKS, _FEWEST_TICKS = 6, 3
# A label's letters are taken to be this wide and high, in units of the scatter's box, whose text is 11 units high.
_LETTER, _LINE = 6.4, 13.0
LONGEST_LABEL = 24
# Half of the dash that a single epoch is drawn as.
_DASH = 6
# Half of a mark's side, and room around it.
_MARK = 7.0


@dataclass(frozen=True, slots=True)
class Axis:
    """From ``low`` to ``high``, with round ``ticks`` between them; ``logarithmic`` or not."""

    low: float
    high: float
    ticks: list[float]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """How far along ``value`` lies, 0 to 1."""
        if self.logarithmic:
            return log(value / self.low) / log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def linear(values: Sequence[float], steps: int = 5, most: float | None = None) -> Axis:
    """Around ``values``, from tick to tick, at most ``steps`` apart and evenly; nothing above ``most``."""
    lowest, highest = min(values), max(values)
    for step in (digit * 10.0**power for power in itertools.count(_FINEST) for digit in (1, 2, 5)):
        first, last = floor(lowest / step + 1e-9), ceil(highest / step - 1e-9)
        if most is not None and first * step >= most:
            first -= 1
        last = max(last, first + 1)
        if last - first <= steps:
            break
    return Axis(first * step, last * step, [round(number * step, 6) for number in range(first, last + 1)])


def logarithmic(values: Sequence[float]) -> Axis:
    """Around ``values``, which are positive, with ticks at round multiples of powers of ten."""
    low, high = min(values), max(values)
    margin = max((high / low) ** 0.08, 1.25)
    low, high = low / margin, high * margin
    powers = range(floor(log(low, 10)), ceil(log(high, 10)) + 1)
    for digits in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = [digit * 10.0**power for power in powers for digit in digits if low <= digit * 10.0**power <= high]
        if len(ticks) <= _MOST_TICKS:
            break
    if len(ticks) < _FEWEST_TICKS:
        ticks = [tick for tick in linear([low, high]).ticks if low <= tick <= high]
    return Axis(low, high, ticks, logarithmic=True)


@dataclass(frozen=True, slots=True)
class Point:
    """A variant in a scatter, its interval from ``low`` to ``high`` (in y)."""

    variant: Variant
    cost: float
    x: float
    y: float
    low: float
    high: float
    on_front: bool


@dataclass(frozen=True, slots=True)
class Label:
    """A text in a scatter; ``anchor`` is SVG's."""

    x: float
    y: float
    anchor: str
    text: str
    full: str
    on_front: bool


@dataclass(frozen=True, slots=True)
class Scatter:
    """Accuracy against a cost, with the Pareto front as a stair: ``line``, and ``below``, what it dominates."""

    x: Axis
    y: Axis
    points: list[Point]
    front: list[Point]
    line: str
    below: str
    labels: list[Label]


def scatter(found: Sequence[Variant], cost: str) -> Scatter | None:
    """The variants' accuracy against a figure of their trials, on a logarithmic axis; None where there is nothing."""
    shown = [(one, one.figure(cost), one.accuracy) for one in found if one.figure(cost) > 0]
    placed = [(one, price, accuracy) for one, price, accuracy in shown if accuracy]
    if not placed:
        return None
    x = logarithmic([price for _, price, _ in placed])
    y = linear([end for _, _, accuracy in placed for end in (accuracy.low, accuracy.high)], most=1.0)
    best = front([(price, accuracy.value) for _, price, accuracy in placed])

    def across(value: float) -> float:
        return round(SCATTER_WIDTH * x.at(value), 1)

    def down(value: float) -> float:
        return round(SCATTER_HEIGHT * (1 - y.at(value)), 1)

    points = [
        Point(one, price, across(price), down(accuracy.value), down(accuracy.low), down(accuracy.high), at in best)
        for at, (one, price, accuracy) in enumerate(placed)
    ]
    stair = [points[at] for at in best]
    line = f"M{stair[0].x:g} {stair[0].y:g}" + "".join(f"H{point.x:g}V{point.y:g}" for point in stair[1:])
    line += f"H{SCATTER_WIDTH}"
    below = f"M{stair[0].x:g} {SCATTER_HEIGHT}V{stair[0].y:g}{line[line.index('H') :]}V{SCATTER_HEIGHT}z"
    return Scatter(x, y, points, stair, line, below, _labels(points))


def _labels(points: Sequence[Point]) -> list[Label]:
    """A name for each architecture where there is room, beside one of its points; those on the front go first."""
    taken = [(p.x - _MARK, p.y - _MARK, p.x + _MARK, p.y + _MARK) for p in points]
    columns: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda point: (not point.on_front, point.y)):
        columns.setdefault(point.variant.architecture, []).append(point)
    labels = []
    for name, column in columns.items():
        text = name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 9]}…{name[-8:]}"
        width = _LETTER * len(text)
        for point in column:
            places = (
                (point.x, point.y - 12, "middle", point.x - width / 2),
                (point.x - 10, point.y + 4, "end", point.x - 10 - width),
                (point.x + 10, point.y + 4, "start", point.x + 10),
                (point.x, point.y + 20, "middle", point.x - width / 2),
                (point.x - 8, point.y - 9, "end", point.x - 8 - width),
                (point.x + 8, point.y + 15, "start", point.x + 8),
                (point.x + 8, point.y - 9, "start", point.x + 8),
                (point.x - 8, point.y + 15, "end", point.x - 8 - width),
            )
            fitting = next(
                (
                    (x, y, anchor, box)
                    for x, y, anchor, left in places
                    if _inside(box := (left, y - _LINE + 2, left + width, y + 3))
                    and not any(_overlap(box, other) for other in taken)
                ),
                None,
            )
            if fitting:
                x, y, anchor, box = fitting
                taken.append(box)
                labels.append(Label(x, y, anchor, text, name, column[0].on_front))
                break
    return labels


Box = tuple[float, float, float, float]


def _inside(box: Box) -> bool:
    return box[0] >= -8 and box[2] <= SCATTER_WIDTH + 8 and box[1] >= -14 and box[3] <= SCATTER_HEIGHT


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@dataclass(frozen=True, slots=True)
class Line:
    """One variant's learning curve: the mean of its trials while all of them learn, and each trial's own."""

    variant: Variant
    mean: str
    seeds: list[str]


@dataclass(frozen=True, slots=True)
class Curves:
    """Learning curves, a panel an architecture, all on the same axes."""

    x: Axis
    y: Axis
    panels: Mapping[str, list[Line]]


def curves(grouped: Mapping[str, Sequence[Variant]], figure: str) -> Curves | None:
    """A figure of the epochs (``val_accuracy``, ``train_loss``) of all trials; None where none was measured."""
    values = [
        value
        for several in grouped.values()
        for one in several
        for trial in one.trials
        for _, value in _measured(trial.epochs, figure)
    ]
    if not values:
        return None
    last = max(
        len(trial.epochs) for several in grouped.values() for one in several for trial in one.trials if trial.epochs
    )
    x = linear([1, last] if last > 1 else [0, 2], steps=4)
    x = Axis(1, last, sorted({1, *(tick for tick in x.ticks if 1 < tick <= last)})) if last > 1 else Axis(0, 2, [1])
    y = linear([0.0, *values], steps=5, most=1.0 if figure == "val_accuracy" else None)

    def path(points: Sequence[tuple[int, float]]) -> str:
        places = [(CURVE_WIDTH * x.at(at), CURVE_HEIGHT * (1 - y.at(value))) for at, value in points]
        if len(places) == 1:
            return f"M{places[0][0] - _DASH:.4g} {places[0][1]:.4g}h{2 * _DASH}"
        return "M" + "L".join(f"{right:.4g} {down:.4g}" for right, down in places)

    panels: dict[str, list[Line]] = {}
    for name, several in grouped.items():
        lines = []
        for one in several:
            each = [points for trial in one.trials if (points := _measured(trial.epochs, figure))]
            if not each:
                continue
            together = [
                (steps[0][0], fmean(value for _, value in steps)) for steps in zip(*each, strict=False)
            ]  # as long as the shortest
            lines.append(Line(one, path(together), [path(points) for points in each] if len(each) > 1 else []))
        panels[name] = lines
    return Curves(x, y, panels)


def _measured(epochs: Sequence[Epoch], figure: str) -> list[tuple[int, float]]:
    """(number of the epoch from 1 on, value)."""
    return [(epoch.number + 1, value) for epoch in epochs if (value := getattr(epoch, figure)) is not None]


@dataclass(frozen=True, slots=True)
class Count:
    """A number of parameters of an architecture, and which of its variants have it (none named: all)."""

    architecture: str
    parameters: int
    variants: list[Variant]


def parameters(grouped: Mapping[str, Sequence[Variant]]) -> list[Count]:
    """The distinct numbers of parameters of each architecture, the smallest architecture first."""
    counts = []
    for name, several in grouped.items():
        by_number: dict[int, list[Variant]] = {}
        for one in several:
            by_number.setdefault(one.parameters, []).append(one)
        counts += [
            [Count(name, number, by_number[number] if len(by_number) > 1 else []) for number in sorted(by_number)]
        ]
    return [count for group in sorted(counts, key=lambda group: group[0].parameters) for count in group]
