"""The geometry of the page's charts: figures in, SVG paths and positions out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

from kramar.records import CalibrationBin

PARTS = ("train", "val", "test")
SKYLINE_WIDTH, SKYLINE_HEIGHT = 1000, 200
RELIABILITY_SIDE = 300


@dataclass(frozen=True, slots=True)
class Waffle:
    """A hundred squares as three paths in a box of 98 x 98: right, right within five guesses, neither."""

    right: int
    near: int
    paths: dict[str, str]


def waffle(accuracy: float, top5: float) -> Waffle:
    """Shares in [0, 1] as squares of a hundred, filled row by row."""
    right = min(floor(100 * accuracy + 0.5), 100 if accuracy >= 1 else 99)
    within = max(right, min(floor(100 * top5 + 0.5), 100 if top5 >= 1 else 99))
    squares = [f"M{10 * (index % 10)} {10 * (index // 10)}h8v8h-8z" for index in range(100)]
    paths = {
        "right": "".join(squares[:right]),
        "near": "".join(squares[right:within]),
        "rest": "".join(squares[within:]),
    }
    return Waffle(right, within - right, paths)


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
