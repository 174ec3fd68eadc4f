"""The geometry of a search's charts: trials in, positions and SVG paths out. y runs downwards, as in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kramar.report.grid_charts import Axis, linear, logarithmic
from kramar.study.search_records import SearchRecord, Tried
from kramar.study.search_space import Value

HISTORY_WIDTH, HISTORY_HEIGHT = 720, 240
SLICE_WIDTH, SLICE_HEIGHT = 240, 150
LINES_WIDTH, LINES_HEIGHT = 1000, 280
CURVES_WIDTH, CURVES_HEIGHT = 720, 240
# Searched as multiples, and so shown as such.
_LOGARITHMIC = ("learning_rate", "weight_decay", "batch", "width", "body_rate")


def kind(one: Tried, record: SearchRecord) -> str:
    """The class of a trial's mark: ``chosen``, ``start``, ``complete``, or ``pruned`` for all that were not."""
    if one.number == record.chosen:
        return "chosen"
    if one.state != "complete":
        return "pruned"
    return "start" if one.number == 0 else "complete"


@dataclass(frozen=True, slots=True)
class Dot:
    """A trial in a chart."""

    trial: Tried
    kind: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Scale:
    """Where values lie, 0 to 1, and the ``marks`` (position, text) that tell them."""

    marks: list[tuple[float, str]]
    axis: Axis | None
    names: list[str]

    @staticmethod
    def of(values: Sequence[Value], name: str) -> Scale:
        """Around ``values`` of the parameter ``name``: on a line where they are numbers, else in lanes."""
        numbers = [float(value) for value in values if not isinstance(value, str)]
        if len(numbers) < len(values):
            names = sorted({str(value) for value in values})
            return Scale([((place + 0.5) / len(names), text) for place, text in enumerate(names)], None, names)
        multiples = name in _LOGARITHMIC and min(numbers) > 0
        axis = logarithmic(numbers) if multiples else linear(numbers, steps=4)
        return Scale([(axis.at(tick), f"{tick:g}") for tick in axis.ticks], axis, [])

    def at(self, value: Value) -> float:
        """How far along ``value`` lies."""
        return self.axis.at(float(value)) if self.axis else (self.names.index(str(value)) + 0.5) / len(self.names)


@dataclass(frozen=True, slots=True)
class History:
    """Accuracy trial by trial, and the best so far of those trained to the end as a stair."""

    x: Axis
    y: Axis
    dots: list[Dot]
    stair: str


def history(record: SearchRecord) -> History:
    """All trials that came to an accuracy, in their order."""
    scored = [one for one in record.trials if one.value is not None]
    x = linear([0, max(1, len(record.trials) - 1)], steps=10)
    y = accuracies(record)
    dots = _dots(scored, record, [HISTORY_WIDTH * x.at(one.number) for one in scored], y, HISTORY_HEIGHT)
    stair, best = "", -1.0
    for dot in dots:
        if dot.trial.state == "complete" and (dot.trial.value or 0.0) > best:
            best = dot.trial.value or 0.0
            stair += f"H{dot.x:g}V{dot.y:g}" if stair else f"M{dot.x:g} {dot.y:g}"
    return History(x, y, dots, f"{stair}H{HISTORY_WIDTH}" if stair else "")


def accuracies(record: SearchRecord) -> Axis:
    """One axis of accuracy for all charts."""
    return linear([one.value for one in record.trials if one.value is not None] or [0.0], steps=5, most=1.0)


@dataclass(frozen=True, slots=True)
class Slice:
    """Accuracy against one parameter."""

    name: str
    scale: Scale
    y: Axis
    dots: list[Dot]


def slices(record: SearchRecord) -> list[Slice]:
    """A chart a parameter that took more than one value, the most important first."""
    y = accuracies(record)
    made = []
    for name in by_importance(record):
        shown = [one for one in record.trials if one.value is not None and one.parameters[name] is not None]
        values = [value for one in shown if (value := one.parameters[name]) is not None]
        if len(set(values)) < 2:
            continue
        scale = Scale.of(values, name)
        across = [SLICE_WIDTH * scale.at(value) for value in values]
        made.append(Slice(name, scale, y, _dots(shown, record, across, y, SLICE_HEIGHT)))
    return made


def by_importance(record: SearchRecord) -> list[str]:
    """What was searched, the most important first, those of no known importance last and in their order."""
    names = list(record.trials[0].parameters) if record.trials else []
    return sorted(names, key=lambda name: -record.importance.get(name, 0.0))


@dataclass(frozen=True, slots=True)
class Upright:
    """One axis among parallel ones."""

    name: str
    x: float
    scale: Scale


@dataclass(frozen=True, slots=True)
class Lines:
    """Every trial as a line through all it was made of, to its accuracy on the right."""

    axes: list[Upright]
    y: Axis
    lines: list[tuple[Tried, str, str]]


def parallel(record: SearchRecord) -> Lines | None:
    """The trials trained to the end, the winner last so that it lies on top; None where there are fewer than two."""
    shown = [one for one in record.trials if one.state == "complete" and one.value is not None]
    if len(shown) < 2:
        return None
    scales: dict[str, Scale] = {}
    for name in reversed(by_importance(record)):
        values = [value for one in shown if (value := one.parameters[name]) is not None]
        if len(set(values)) > 1:
            scales[name] = Scale.of(values, name)
    axes = [
        Upright(name, round(LINES_WIDTH * place / len(scales), 1), scale)
        for place, (name, scale) in enumerate(scales.items())
    ]
    y = linear([one.value for one in shown if one.value is not None], steps=5, most=1.0)
    lines = []
    for one in sorted(shown, key=lambda one: (one.number == record.chosen, one.number == 0, one.value)):
        points = [
            f"{upright.x:g} {LINES_HEIGHT * (1 - upright.scale.at(value)):.4g}"
            for upright in axes
            if (value := one.parameters[upright.name]) is not None
        ]
        points.append(f"{LINES_WIDTH} {LINES_HEIGHT * (1 - y.at(one.value or 0.0)):.4g}")
        lines.append((one, kind(one, record), "M" + "L".join(points)))
    return Lines(axes, y, lines)


@dataclass(frozen=True, slots=True)
class Curves:
    """Accuracy on validation epoch by epoch, a line a trial."""

    x: Axis
    y: Axis
    lines: list[tuple[Tried, str, str]]


def curves(record: SearchRecord) -> Curves:
    """All trials that learnt, the start and the winner last."""
    order = {"pruned": 0, "complete": 1, "start": 2, "chosen": 3}
    shown = sorted(((one, kind(one, record)) for one in record.trials if one.epochs), key=lambda one: order[one[1]])
    last = max((len(one.epochs) for one, _ in shown), default=1)
    x = Axis(1, max(last, 2), sorted({1, *(tick for tick in linear([1, max(last, 2)], 6).ticks if 1 < tick <= last)}))
    values = [epoch.val_accuracy or 0.0 for one, _ in shown for epoch in one.epochs]
    y = linear(values or [0.0], steps=5, most=1.0)
    lines = []
    for one, its in shown:
        points = [
            f"{CURVES_WIDTH * x.at(epoch.number + 1):.4g} {CURVES_HEIGHT * (1 - y.at(epoch.val_accuracy or 0.0)):.4g}"
            for epoch in one.epochs
        ]
        # A single epoch is a dot: a line's round cap.
        lines.append((one, its, f"M{points[0]}h.01" if len(points) == 1 else "M" + "L".join(points)))
    return Curves(x, y, lines)


def _dots(trials: Sequence[Tried], record: SearchRecord, across: Sequence[float], y: Axis, height: int) -> list[Dot]:
    return [
        Dot(one, kind(one, record), round(x, 1), round(height * (1 - y.at(one.value or 0.0)), 1))
        for one, x in zip(trials, across, strict=True)
    ]
