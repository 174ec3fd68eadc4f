"""The page of one comparison: which variant is best, what that costs, and what is proven of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kramar.evaluation.paired import LEVEL
from kramar.report import grid_charts as charts
from kramar.report.album import Album
from kramar.report.page import METRICS, TOP5_CLASSES, UNPRINTABLE, templates
from kramar.report.variants import (
    Members,
    Paired,
    Variant,
    by_architecture,
    members,
    origins,
    picks,
    recipes,
    scored_part,
    variants,
    ways,
)
from kramar.report.wording import DRAWN, PART_NAMES, counted, headline, rate, size, unit
from kramar.study.pictures import Pictures, words
from kramar.study.records import GridRecord, TrialRecord
from kramar.study.settings import FROZEN_VIEWS

# Of more variants, the matrix shows the best: narrower columns could not be read.
MATRIX_VARIANTS = 24
# Names in a sentence.
NAMED = 4
# Folded lists of at most this many rows are unfolded on paper.
PRINTED = 60


@dataclass(frozen=True, slots=True)
class Strip:
    """An augmentation policy: what it does, by whom it was used, and the same photo several times."""

    policy: str
    strength: float
    words: str
    used_by: list[Members]
    uris: list[str]


def render_grid(record: GridRecord, pictures: Pictures) -> str:
    """The comparison's ``report.html``: one file that loads nothing from elsewhere."""
    found = variants(record.trials)
    best = found[0]
    part = scored_part(record.trials)
    tests = Paired.of(record.tests)
    not_worse = tests.not_worse(found)
    grouped = by_architecture(found)
    scored = [one for one in found if one.accuracy]
    ends = [end for one in scored if one.accuracy for end in (one.accuracy.low, one.accuracy.high, *one.seeds)]
    plain, strips = pictured(found, pictures)
    page = (
        templates()
        .get_template("grid.html.j2")
        .render(
            record=record,
            found=found,
            best=best,
            part=part,
            scored=PART_NAMES.get(part, ""),
            headline=headline(best.accuracy, unit(best.accuracy)) if best.accuracy else None,
            not_worse=not_worse,
            named=members(not_worse[:NAMED], found),
            unnamed=max(0, len(not_worse) - NAMED),
            picks=picks(found, not_worse),
            ways=ways(found),
            grouped=grouped,
            seeds=max(len(one.trials) for one in found),
            axis=charts.linear(ends, steps=6, most=1.0) if ends else None,
            sizes=charts.scatter(found, "bytes"),
            speeds=charts.scatter(found, "milliseconds"),
            scatter_box=(charts.SCATTER_WIDTH, charts.SCATTER_HEIGHT),
            counts=charts.parameters(grouped),
            accuracy_curves=charts.curves(grouped, "val_accuracy"),
            loss_curves=charts.curves(grouped, "train_loss"),
            curve_box=(charts.CURVE_WIDTH, charts.CURVE_HEIGHT),
            with_energy=any(one.energy_joules is not None for one in found),
            metric_rows=[row for row in METRICS if row[0] != "top5" or record.data.classes >= TOP5_CLASSES],
            tests=tests,
            matrix=tests.rows(found[:MATRIX_VARIANTS]),
            plain=plain,
            photo=pictures.entry,
            strips=strips,
            recipes=recipes(found),
            origins=origins(grouped),
            values=values,
            settings=settings,
            notes=notes(record.trials),
            cautions=cautions(record),
            level=LEVEL,
            views=FROZEN_VIEWS,
            printed=PRINTED,
            points=points,
            probability=probability,
            millions=millions,
            megabytes=size,
            milliseconds=milliseconds,
            watt_hours=watt_hours,
        )
    )
    return UNPRINTABLE.sub("\ufffd", page)


def pictured(found: Sequence[Variant], pictures: Pictures) -> tuple[str | None, list[Strip]]:
    """The photo as it is (None where it cannot be read any more), and by the policies that change it."""
    used: dict[tuple[str, float], list[Variant]] = {}
    for one in found:
        for way in dict.fromkeys((trial.recipe["augment"], trial.recipe["strength"]) for trial in one.trials):
            used.setdefault(way, []).append(one)
    shots: dict[str, bytes | None] = {"plain": pictures.plain()}
    album = Album(shots.get)
    plain, strips = album.picture("plain"), []
    for (policy, strength), users in sorted(used.items()):
        if policy == "none":
            continue
        drawn = pictures.nine(policy, strength)
        shots |= {str(number): shot for number, shot in enumerate(drawn)}
        uris = [uri for number in range(len(drawn)) if (uri := album.picture(str(number)))]
        strips.append(Strip(policy, strength, words(policy), members(users, found), uris))
    return plain, strips


def settings(trained: Sequence[Mapping[str, Any]]) -> tuple[list[str], dict[str, Any]]:
    """The names of what differs among recipes, and what is the same in all."""
    names = list(dict.fromkeys(name for recipe in trained for name in recipe))
    same = {name: trained[0].get(name) for name in names if all(r.get(name) == trained[0].get(name) for r in trained)}
    return [name for name in names if name not in same], same


def values(value: Any) -> str:
    """A recipe's value as a reader would write it."""
    if isinstance(value, list | tuple):
        return ", ".join(map(values, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "as built" if value == "" else str(value)


def notes(trials: Sequence[TrialRecord]) -> dict[str, list[str]]:
    """What is to be known of how trials were trained, and the variants of which it is true."""
    found: dict[str, list[str]] = {}
    for one in trials:
        for note in one.notes:
            found.setdefault(note, []).append(one.variant)
    return {note: list(dict.fromkeys(names)) for note, names in found.items()}


def cautions(record: GridRecord) -> list[str]:
    """What a reader must know before relying on the figures: the data's warnings and the page's own."""
    found = list(record.data.warnings)
    part = scored_part(record.trials)
    if record.left_out_trials:
        found.append(
            f"{counted(len(record.left_out_trials), 'trial')} "
            f"{'is' if len(record.left_out_trials) == 1 else 'are'} not compared: "
            f"see what was left out."
        )
    if part == "test" and record.data.split_from == "kramar":
        found.append(DRAWN)
    if part == "val":
        found.append(
            "Nothing was tested: no test photos were set aside. The figures are from the validation photos, which "
            "epochs were chosen on, and differences between variants are not tested."
        )
    if not part:
        found.append("Nothing was measured: there were neither test nor validation photos.")
    by_variant: dict[str, int] = {}
    for one in record.trials:
        by_variant[one.variant] = by_variant.get(one.variant, 0) + 1
    if max(by_variant.values()) == 1 and len(by_variant) > 1:
        found.append(
            "Each variant was trained once, from one seed. Another seed would give other figures: the tests compare "
            "these models, not the ways of making them."
        )
    elif len(set(by_variant.values())) > 1:
        found.append("Some variants have fewer seeds than others.")
    differing = sum(one.verification.label_differences for one in record.trials)
    if differing:
        found.append(f"Exported files name another category than their networks on {counted(differing, 'photo')}.")
    return found


def points(share: float) -> str:
    """A difference of shares as points with a sign: ``+1.2``, ``−0.4``, ``+12``, ``0.0``."""
    shown = 100 * share
    digits = f"{abs(shown):.1f}" if abs(shown) < 9.95 else f"{abs(shown):.0f}"
    return digits if float(digits) == 0 else ("+" if shown > 0 else "−") + digits


def millions(number: int) -> str:
    """``28.7 M``, ``0.06 M``."""
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e6:.2g} M"


def probability(p: float) -> str:
    """``= 0.031``, ``< 0.001``."""
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def milliseconds(value: float) -> str:
    """``3.2 ms``."""
    return f"{rate(value)} ms"


def watt_hours(joules: float) -> str:
    """``12.4 Wh``."""
    return f"{rate(joules / 3600)} Wh"
