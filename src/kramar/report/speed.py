"""The page of ``kramar benchmark``: what machines measured, compared, and the thesis's times beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kramar.report.grid_charts import Axis, logarithmic
from kramar.report.page import UNPRINTABLE, templates
from kramar.report.wording import counted
from kramar.study.classics import CIFAR10, MNIST, SHAPES
from kramar.study.speed_file import INFERENCE, MEASURED, SECONDS, STANDS_FOR, TRAINING, Line, SpeedRecord, lines

# In one strip, so many processors can be told apart by their marks; the table has all.
MARKS = ("w2", "w3", "w4", "w1")


@dataclass(frozen=True, slots=True)
class Chart:
    """Processors' times for an epoch of one set, the fastest first, the quoted ones last."""

    dataset: str
    axis: Axis
    lines: list[Line]


@dataclass(frozen=True, slots=True)
class Pace:
    """An architecture's photos a second at one size, by processor (machine and name)."""

    architecture: str
    pixels: int | None
    rates: dict[tuple[str, str], dict[str, SpeedRecord]] = field(default_factory=dict)

    def fastest(self, what: str) -> float:
        """The highest of ``training`` or ``inference``; 0 where none was measured."""
        return max((rates[what].value for rates in self.rates.values() if what in rates), default=0.0)


def render_speed(records: Sequence[SpeedRecord], file: str, left_out: Sequence[str], broken: int) -> str:
    """The page beside ``file``: one HTML file that loads nothing from elsewhere.

    ``left_out`` is what the last run did not measure; ``broken`` counts rows that could not be read.
    """
    times = lines(records)
    paces = rates(records)
    measured = [one for one in records if one.source == MEASURED]
    who = list(dict.fromkeys(who for pace in paces for who in pace.rates))
    page = (
        templates()
        .get_template("speed.html.j2")
        .render(
            file=file,
            lines=times,
            best=best(times),
            charts=[chart for name in (CIFAR10, MNIST) if (chart := drawn(times, name))],
            shapes=SHAPES,
            paces=paces,
            who=who,
            marks_of=dict(zip(who, MARKS, strict=False)),
            axes={what: axis(paces, what) for what in (TRAINING, INFERENCE)},
            measured=measured,
            machines=machines(measured),
            cautions=cautions(measured, left_out, broken),
            tick=tick,
        )
    )
    return UNPRINTABLE.sub("\ufffd", page)


def rates(records: Sequence[SpeedRecord]) -> list[Pace]:
    """Photos a second by architecture and size, the fastest to train first."""
    found: dict[tuple[str, int | None], Pace] = {}
    for one in records:
        if one.unit != SECONDS:
            pace = found.setdefault((one.architecture, one.pixels), Pace(one.architecture, one.pixels))
            pace.rates.setdefault((one.machine, one.processor), {})[one.what] = one
    return sorted(found.values(), key=lambda pace: (-pace.fastest(TRAINING), -pace.fastest(INFERENCE)))


def best(times: Sequence[Line]) -> tuple[str, list[Line]] | None:
    """The set that the headline is of, and the processors that were measured on it, the fastest first."""
    for name in (CIFAR10, MNIST):
        found = [line for line in times if line.measured and name in line.times]
        if found:
            return name, sorted(found, key=lambda line: line.times[name].value)
    return None


def drawn(times: Sequence[Line], name: str) -> Chart | None:
    """The chart of one set; None where nobody measured it."""
    shown = [line for line in times if name in line.times]
    if not any(line.measured for line in shown):
        return None
    ordered = sorted(shown, key=lambda line: (not line.measured, line.times[name].value))
    return Chart(name, logarithmic([line.times[name].value for line in shown]), ordered)


def axis(paces: Sequence[Pace], what: str) -> Axis | None:
    """Around all photos a second of training or inference; None where there are none."""
    values = [rates[what].value for pace in paces for rates in pace.rates.values() if what in rates]
    return logarithmic(values) if values else None


def machines(measured: Sequence[SpeedRecord]) -> list[Mapping[str, str]]:
    """What each processor was measured with, by its last row."""
    found = {(one.machine, one.processor): one for one in measured}
    return [
        {
            "machine": one.machine,
            "processor": one.processor,
            "threads": str(one.threads or ""),
            "software": one.software,
            "when": one.when,
        }
        for one in found.values()
    ]


def cautions(measured: Sequence[SpeedRecord], left_out: Sequence[str], broken: int) -> list[str]:
    """What a reader must know before comparing the figures."""
    found = []
    if any(STANDS_FOR in one.dataset for one in measured):
        found.append(
            "Fashion-MNIST stands in for MNIST: as many photos of the same shape, and so the same work for a network."
        )
    if any("scaled up" in one.covers for one in measured):
        found.append("Where an epoch did not fit the budget, its first steps were timed and scaled up to all of them.")
    if len({one.software for one in measured}) > 1:
        found.append("The figures were measured with different versions of kramar or torch: see the machines.")
    found += [f"Left out in the last run: {reason}." for reason in left_out]
    if broken:
        found.append(f"{counted(broken, 'row')} of the table could not be read.")
    return found


def tick(value: float) -> str:
    """``0.05``, ``2``, ``1,000``."""
    return f"{value:,.0f}" if value >= 1 and value == round(value) else f"{value:g}"
