"""The geometry of the page's charts: figures in, SVG paths and positions out."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kramar.records import CalibrationBin, CurvePoint, Estimate

PARTS = ("train", "val", "test")
SKYLINE_WIDTH, SKYLINE_HEIGHT = 1000, 200
RELIABILITY_SIDE = 300
SPREAD_CLASSES = 200


@dataclass(frozen=True, slots=True)
class Waffle:
    """A square a photo: ``counts`` and ``paths`` in a box of ``width`` x ``height``.

    The keys, in the order of the squares, are those of ``right``, ``near`` (right within five guesses) and ``rest``
    that have any.
    """

    of: int
    counts: dict[str, int]
    paths: dict[str, str]
    width: int
    height: int


def waffle(right: int, within: int, of: int) -> Waffle:
    """Of ``of`` photos (100 or 1,000), ``right`` and those ``within`` five guesses, filled row by row."""
    columns = 10 if of <= 100 else 40
    squares = [f"M{10 * (index % columns)} {10 * (index // columns)}h8v8h-8z" for index in range(of)]
    ends = {"right": right, "near": max(right, within), "rest": of}
    counts, paths, start = {}, {}, 0
    for key, end in ends.items():
        if end > start:
            counts[key], paths[key] = end - start, "".join(squares[start:end])
        start = end
    return Waffle(of, counts, paths, 10 * columns - 2, 10 * -(-of // columns) - 2)


def ticks(highest: int) -> list[int]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from 0 to at least ``highest``, at most five steps."""
    step = next(
        step for power in itertools.count() for step in (10**power, 2 * 10**power, 5 * 10**power) if 5 * step >= highest
    )
    return list(range(0, step * max(-(-highest // step), 1) + 1, step))


@dataclass(frozen=True, slots=True)
class Skyline:
    """Stacked columns, one a class, as one path a part in a box of ``SKYLINE_WIDTH`` x ``SKYLINE_HEIGHT``."""

    paths: dict[str, str]
    ticks: list[int]


def skyline(photos: Sequence[Mapping[str, int]]) -> Skyline:
    """Photos by part, a mapping a class, in the order of the columns from left to right."""
    scale = ticks(max((sum(parts.get(part, 0) for part in PARTS) for parts in photos), default=0))
    pitch = SKYLINE_WIDTH / max(len(photos), 1)
    width = pitch * (0.78 if len(photos) <= 200 else 1)
    unit = SKYLINE_HEIGHT / scale[-1]
    columns: dict[str, list[str]] = {part: [] for part in PARTS}
    for index, parts in enumerate(photos):
        floor_y = float(SKYLINE_HEIGHT)
        for part in PARTS:
            height = parts.get(part, 0) * unit
            if height:
                columns[part].append(f"M{index * pitch:.5g} {floor_y:.5g}v{-height:.4g}h{width:.4g}v{height:.4g}z")
            floor_y -= height
    return Skyline({part: "".join(column) for part, column in columns.items()}, scale)


@dataclass(frozen=True, slots=True)
class Reliability:
    """Points of a reliability diagram in a square of ``RELIABILITY_SIDE``, y downwards, and the line through them."""

    points: list[tuple[float, float]]
    line: str


def reliability(bins: Sequence[CalibrationBin]) -> Reliability:
    """Where the bins lie: stated probability to the right, share that was right upwards."""
    points = [
        (round(RELIABILITY_SIDE * bin_.confidence, 1), round(RELIABILITY_SIDE * (1 - bin_.accuracy), 1))
        for bin_ in bins
        if bin_.n
    ]
    return Reliability(points, "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else "")


@dataclass(frozen=True, slots=True)
class Coverage:
    """A line in a square of ``RELIABILITY_SIDE``: share of photos to the right, precision upwards from ``floor``."""

    line: str
    floor: float
    ticks: list[tuple[float, float]]

    def height(self, precision: float) -> float:
        """Where a precision lies, y downwards."""
        return round(RELIABILITY_SIDE * (1 - (precision - self.floor) / (1 - self.floor)), 1)


def coverage(points: Sequence[CurvePoint], target: float) -> Coverage:
    """How precise the answers to so many photos are, in whole tenths from below the lowest of it and the target."""
    floor = min(9, int(10 * min([target, *(point.precision for point in points)]))) / 10
    tenths = round(10 * (1 - floor))
    # A tenth a step, or less where there are few of them.
    steps = {1: 5, 2: 4}.get(tenths, tenths)
    shown = [floor + (1 - floor) * step / steps for step in range(steps + 1)]
    chart = Coverage("", floor, [])
    line = "L".join(f"{RELIABILITY_SIDE * p.coverage:.5g} {chart.height(p.precision):g}" for p in points)
    return Coverage("M" + line if points else "", floor, [(tick, chart.height(tick)) for tick in shown])


@dataclass(frozen=True, slots=True)
class Spread:
    """A share a class, the lowest first, in a box of ``SKYLINE_WIDTH`` x ``SKYLINE_HEIGHT``: values and intervals."""

    values: str
    intervals: str
    classes: int


def spread(shares: Collection[Estimate]) -> Spread:
    """Of many classes, the lowest ``SPREAD_CLASSES``."""
    lowest = sorted(shares, key=lambda one: (one.value, -one.n))[:SPREAD_CLASSES]
    step = SKYLINE_WIDTH / max(len(lowest), 1)
    values, intervals = [], []
    for place, one in enumerate(lowest):
        value, low, high = (round(SKYLINE_HEIGHT * (1 - share), 1) for share in (one.value, one.low, one.high))
        values.append(f"M{place * step + 0.2 * step:.5g} {value:g}h{0.6 * step:.4g}")
        intervals.append(f"M{(place + 0.5) * step:.5g} {low:g}V{high:g}")
    return Spread("".join(values), "".join(intervals), len(lowest))


@dataclass(frozen=True, slots=True)
class Third:
    """Photos that the model was about equally sure of: mean stated probability, share that was right."""

    confidence: float
    accuracy: float
    n: int


def thirds(bins: Sequence[CalibrationBin]) -> tuple[Third, Third] | None:
    """The least sure and the surest third of the bins; None where there are fewer than three."""
    ordered = sorted((bin_ for bin_ in bins if bin_.n), key=lambda bin_: bin_.confidence)
    width = len(ordered) // 3
    if not width:
        return None
    return _pooled(ordered[:width]), _pooled(ordered[-width:])


def _pooled(bins: Sequence[CalibrationBin]) -> Third:
    n = sum(bin_.n for bin_ in bins)
    return Third(
        sum(bin_.confidence * bin_.n for bin_ in bins) / n,
        sum(bin_.accuracy * bin_.n for bin_ in bins) / n,
        n,
    )
