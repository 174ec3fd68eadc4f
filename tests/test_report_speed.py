"""The benchmark's page: true to the table, whole for every table, safe for every name."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cache

import pytest

from kramar.models.architectures import ARCHITECTURES
from kramar.report.speed import MARKS, best, drawn, rates, render_speed, tick
from kramar.report.wording import rate
from kramar.study.speed_file import THESIS, SpeedRecord, lines
from pages import Reader, whole_page
from report_records import HOSTILE

STAND_IN = "Fashion-MNIST, stands for MNIST"
# Name: (machine, how many times as fast as two cores).
PROCESSORS = {
    "AMD EPYC": ("till-7: 2 cores, 25 GB", 1.0),
    "NVIDIA GeForce RTX 4090": ("studio: 16 cores, 64 GB", 60.0),
    "Apple M2": ("laptop: 8 cores, 16 GB", 3.3),
    "Intel Core i5": ("office: 4 cores, 16 GB", 0.8),
    "AMD Ryzen 9": ("studio: 16 cores, 64 GB", 7.0),
}


def figure(processor: str, **changes: object) -> SpeedRecord:
    values: dict[str, object] = {
        "machine": PROCESSORS.get(processor, ("till-7", 1))[0],
        "processor": processor,
        "dataset": "noise",
        "architecture": "convnet",
        "what": "training",
        "covers": "step",
        "value": 1.0,
        "unit": "photos/s",
        "source": "measured",
        "when": "2026-03-04T14:02:11+00:00",
        "pixels": 224,
        "batch": 32,
        "threads": 2,
        "software": "kramar 0.1.0, torch 2.14.1",
    }
    return SpeedRecord.model_validate(values | changes)


def epoch(processor: str, dataset: str, value: float, covers: str = "epoch") -> SpeedRecord:
    return figure(processor, dataset=dataset, value=value, covers=covers, unit="s", pixels=28, batch=64)


def measured(*processors: str, mnist: str = "MNIST", covers: str = "epoch") -> list[SpeedRecord]:
    """All figures of these processors, as they could have come out."""
    chance, found = random.Random(7), []
    for name in processors:
        times = PROCESSORS[name][1]
        found += [epoch(name, mnist, 61.23 / times, covers), epoch(name, "CIFAR-10", 83.4 / times, covers)]
        for place, one in enumerate(ARCHITECTURES.values()):
            training = 300 / (1 + place) * times * chance.uniform(0.7, 1.3)
            common = {"architecture": one.name, "pixels": one.resize.size}
            found.append(
                figure(name, **common, what="inference", covers="photo", value=training * chance.uniform(3, 5))
            )
            found.append(figure(name, **common, value=training))
    return [*THESIS, *found]


def hostile() -> list[SpeedRecord]:
    text = dict.fromkeys(("machine", "dataset", "architecture", "covers", "software", "when"), HOSTILE)
    return [figure(HOSTILE, **text), figure(HOSTILE, **text, unit="s"), epoch(HOSTILE, "MNIST", 3.0)]


KINDS: dict[str, Callable[[], list[SpeedRecord]]] = {
    "one": lambda: measured("AMD EPYC"),
    "three": lambda: measured("AMD EPYC", "NVIDIA GeForce RTX 4090", "Apple M2"),
    "five": lambda: measured(*PROCESSORS),
    "stand-in": lambda: measured("AMD EPYC", mnist=STAND_IN, covers="epoch, scaled up from 40 of 937 steps"),
    "no network": lambda: [*THESIS, epoch("AMD EPYC", STAND_IN, 61.0)],
    "inference only": lambda: [figure("AMD EPYC", what="inference", covers="photo", value=41.5)],
    "quoted only": lambda: THESIS,
    "nothing": list,
    "hostile": hostile,
}
LEFT_OUT = ["CIFAR-10: no local copy, and it could not be fetched (Name or service not known)"]


@cache
def page(kind: str) -> str:
    left_out = LEFT_OUT if kind == "no network" else [HOSTILE] if kind == "hostile" else []
    return render_speed(KINDS[kind](), "benchmark.csv", left_out, 2 if kind == "one" else 0)


@cache
def reader(kind: str) -> Reader:
    return Reader(page(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_gives_a_whole_page_that_loads_nothing(kind: str) -> None:
    found = whole_page(page(kind))
    charts = [chart for chart in found.all("svg") if chart.get("class") == "strip"]
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert not re.search(r"\b(nan|inf|None|Undefined)\b", found.text)


@pytest.mark.parametrize("kind", KINDS)
def test_positions_are_inside_their_charts(kind: str) -> None:
    placed = re.findall(r'\b(?:x|x1|x2)="(-?[\d.]+)%"', page(kind))
    assert all(0 <= float(place) <= 100 for place in placed)
    assert all(0 <= float(place) <= 1 for place in re.findall(r"--s:(-?[\d.e-]+)", page(kind)))
    assert bool(placed) == (kind not in ("quoted only", "nothing"))


@pytest.mark.parametrize("kind", ["one", "three", "five"])
def test_every_figure_is_on_the_page_and_quoted_ones_are_marked(kind: str) -> None:
    html, text = page(kind), reader(kind).text
    for one in KINDS[kind]():
        assert one.processor in text
        assert (f"{one.value:g}" if one.source == "quoted" else rate(one.value)) in text
    table = html[html.index('<table class="times">') : html.index("</table>")]
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)[1:]
    assert len(rows) == 5 + len(kinds_of(kind))
    for row in rows:
        quoted = any(f">{one.processor}<" in row for one in THESIS)
        assert ('class="quoted"' in row) == quoted
        assert re.sub(r"<[^>]+>", " ", row).split()[-1] == ("quoted" if quoted else "measured")
        assert ("not said" in row) == quoted
    assert [word for word in ("Titan XP", "0.005", "21.1", "0.3777", "1665.7") if word not in table] == []


def kinds_of(kind: str) -> set[str]:
    return {one.processor for one in KINDS[kind]() if one.source == "measured"}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("one", "AMD EPYC trains an epoch of CIFAR-10 in 1 min 23 s."),
        ("one", "convnet, the thesis’s own network, learning 50,000 photos of 32 pixels once."),
        ("one", "2 rows of the table could not be read."),
        ("three", "The fastest of 3 processors, NVIDIA GeForce RTX 4090, trains an epoch of CIFAR-10 in 1.4 s."),
        ("three", "The slowest, AMD EPYC, takes 1 min 23 s: 60 times as long."),
        ("five", "4 of 5 processors are drawn; the table below has all."),
        ("stand-in", "learning 50,000 photos of 32 pixels once, scaled up from 40 of 937 steps."),
        ("stand-in", "Fashion-MNIST stands in for MNIST: as many photos of the same shape"),
        ("stand-in", "its first steps were timed and scaled up to all of them"),
        ("no network", "AMD EPYC trains an epoch of MNIST in 1 min 01 s."),
        ("no network", "60,000 photos of 28 pixels once (Fashion-MNIST, stands for MNIST)."),
        ("no network", "Left out in the last run: CIFAR-10: no local copy, and it could not be fetched (Name or serv"),
        ("inference only", "No epoch was timed."),
        ("inference only", "not measured"),
        ("quoted only", "No architecture was timed."),
        ("one", "It does not say what one of them covers"),
    ],
)
def test_tables_are_told_plainly(kind: str, words: str) -> None:
    assert words in reader(kind).text


def test_what_is_alike_is_not_warned_of() -> None:
    assert "Before you compare" in reader("one").text
    assert "Before you compare" not in reader("three").text
    other = [*measured("AMD EPYC"), figure("Apple M2", software="kramar 0.2.0, torch 2.15.0")]
    assert "different versions of kramar or torch" in Reader(render_speed(other, "b.csv", [], 0)).text


def test_times_and_rates_are_ordered_by_speed() -> None:
    records = KINDS["five"]()
    table = lines(records)
    found = best(table)
    assert found is not None
    name, ranked = found
    assert name == "CIFAR-10"
    assert [line.processor for line in ranked] == sorted(PROCESSORS, key=lambda name: -PROCESSORS[name][1])
    chart = drawn(table, "MNIST")
    assert chart is not None
    assert [line.measured for line in chart.lines] == [True] * 5 + [False] * 5
    assert [line.processor for line in chart.lines[5:]][-1] == "Intel Core i7"
    fastest = [pace.fastest("training") for pace in rates(records)]
    assert fastest == sorted(fastest, reverse=True)
    assert drawn(lines(THESIS), "MNIST") is None


def test_the_set_itself_is_shown_rather_than_its_stand_in() -> None:
    itself, stand_in = epoch("AMD EPYC", "MNIST", 60.0), epoch("AMD EPYC", STAND_IN, 50.0)
    for records in ([itself, stand_in], [stand_in, itself]):
        (line,) = lines(records)
        assert line.times == {"MNIST": itself}


@pytest.mark.parametrize(
    ("covers", "said"),
    [
        (("epoch", "epoch"), "epoch"),
        (
            ("epoch", "epoch, scaled up from 9 of 781 steps"),
            "MNIST: epoch; CIFAR-10: epoch, scaled up from 9 of 781 steps",
        ),
    ],
)
def test_what_covers_differs_is_said_of_each_set(covers: tuple[str, str], said: str) -> None:
    records = [epoch("AMD EPYC", *of) for of in (("MNIST", 1.0, covers[0]), ("CIFAR-10", 2.0, covers[1]))]
    assert lines(records)[0].covers == said
    assert lines([epoch("AMD EPYC", STAND_IN, 1.0)])[0].covers == f"epoch; {STAND_IN}"


def test_processors_beyond_the_marks_are_in_the_table_only() -> None:
    html = page("five")
    strips = re.findall(r'<svg class="strip".*?</svg>\s*<span', html, re.DOTALL)
    assert {strip.count('class="glyph') for strip in strips} == {1, len(MARKS)}
    table = html[html.index('<table class="sortable paces">') :]
    assert table[: table.index("</table>")].count('<th scope="row"') == 5 * len(ARCHITECTURES)


def test_hostile_names_stay_text() -> None:
    html = page("hostile")
    assert "<script>alert" not in html
    assert "evil.example" in html
    assert not re.search("[\x00\ud800-\udfff]", html)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.005, "0.005"), (0.5, "0.5"), (1.5, "1.5"), (20.0, "20"), (2e3, "2,000")]
)
def test_ticks_are_short(value: float, shown: str) -> None:
    assert tick(value) == shown
