"""The page of one search: what tuning gained, what was tried, and what mattered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kramar.records import Estimate
from kramar.report import search_charts as charts
from kramar.report.grid import PRINTED, points, probability, values
from kramar.report.page import METRICS, TOP5_CLASSES, UNPRINTABLE, templates
from kramar.report.variants import Way
from kramar.report.wording import DRAWN, PART_NAMES, counted
from kramar.study.records import ComparisonRecord
from kramar.study.search_records import SearchRecord, Tried


@dataclass(frozen=True, slots=True)
class Bar:
    """Accuracy before or after tuning."""

    title: str
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class Change:
    """A part of the recipe: as it was at the start, and as the winner has it."""

    name: str
    start: Any
    chosen: Any

    @property
    def changed(self) -> bool:
        """Whether the two differ."""
        return bool(self.start != self.chosen)


def render_search(record: SearchRecord) -> str:
    """The search's ``report.html``: one file that loads nothing from elsewhere."""
    test = record.tests[0] if record.tests else None
    page = (
        templates()
        .get_template("search.html.j2")
        .render(
            record=record,
            way=Way(record.regime, record.transfer),
            part="test" if "test" in record.metrics else "val",
            test=test,
            verdict=verdict(record, test),
            chosen=record.trials[record.chosen],
            rival=rival(record),
            groups=bars(record),
            changes=changes(record),
            states={state: [one for one in record.trials if one.state == state] for state in ("complete", "pruned")},
            cautions=cautions(record),
            history=charts.history(record),
            slices=charts.slices(record),
            lines=charts.parallel(record),
            curves=charts.curves(record),
            boxes={
                "history": (charts.HISTORY_WIDTH, charts.HISTORY_HEIGHT),
                "slice": (charts.SLICE_WIDTH, charts.SLICE_HEIGHT),
                "lines": (charts.LINES_WIDTH, charts.LINES_HEIGHT),
                "curves": (charts.CURVES_WIDTH, charts.CURVES_HEIGHT),
            },
            kind=lambda one: charts.kind(one, record),
            title=title,
            metric_rows=[row for row in METRICS if row[0] != "top5" or record.data.classes >= TOP5_CLASSES],
            points=points,
            probability=probability,
            values=values,
            printed=PRINTED,
        )
    )
    return UNPRINTABLE.sub("\ufffd", page)


def verdict(record: SearchRecord, test: ComparisonRecord | None) -> str:
    """What came of it: ``gain``, ``even`` (none shown), ``loss``, ``same`` (no trial beat the start), ``untested``."""
    if record.chosen == 0:
        return "same"
    if test is None:
        return "untested"
    return {"better": "gain", "worse": "loss"}.get(test.verdict, "even")


def rival(record: SearchRecord) -> int | None:
    """The best of the shortened trials, where the start was better than it in full; None otherwise."""
    return next((number for number in record.finals if number), None) if record.chosen == 0 else None


def bars(record: SearchRecord) -> dict[str, list[Bar]]:
    """By part, test first: accuracy before and after, as far as they were measured."""
    groups: dict[str, list[Bar]] = {}
    for part in ("test", "val"):
        models = [("Before", record.before)] if record.before and record.chosen else []
        for name, model in [*models, ("After" if record.chosen else "The start", record.after)]:
            if part in model.metrics:
                groups.setdefault(PART_NAMES[part], []).append(Bar(name, model.metrics[part].accuracy))
    return groups


def changes(record: SearchRecord) -> list[Change]:
    """The winner's whole recipe against the start's, what differs first."""
    start = record.before.recipe if record.before else {}
    every = [Change(name, start.get(name), value) for name, value in record.after.recipe.items()]
    return sorted(every, key=lambda change: not change.changed)


def cautions(record: SearchRecord) -> list[str]:
    """What a reader must know before relying on the figures: the data's warnings and the page's own."""
    found = list(record.data.warnings)
    if record.chosen:
        found.append(
            "The winner was chosen by its accuracy on the validation photos, the best of "
            f"{counted(len(record.trials), 'trial')}: that figure is too kind to it. Only the test photos, which no "
            "choice was made by, tell what tuning gained."
        )
    if record.finals:
        found.append(
            f"For the budget, trials were trained for {counted(record.search_epochs, 'epoch')} instead of "
            f"{record.after.recipe['epochs']}; the start and the best of them were then trained anew in full. What "
            "wins a short training need not win a long one: with more time, another recipe might have been found."
        )
    if record.before is None:
        found.append(
            "The recipe that the search started from could not be trained to the end, and so there is nothing to "
            "compare the winner with."
        )
    if len(record.trials) < record.asked:
        found.append(f"The budget had room for {len(record.trials)} of the {record.asked} trials that were asked for.")
    if "test" in record.metrics and record.data.split_from == "kramar":
        found.append(DRAWN)
    if "test" not in record.metrics:
        found.append(
            "Nothing was tested: no test photos were set aside. The figures are from the validation photos, which "
            "recipes and epochs were chosen on, and so are probably kinder than new photos will be."
        )
    found.append(
        "Each recipe was trained once, from one seed. Another seed would give other figures: what is compared are "
        "these two models."
    )
    return found


def title(one: Tried) -> str:
    """A trial in words, for what is shown when it is pointed at."""
    made = ", ".join(f"{name.replace('_', ' ')} {values(v)}" for name, v in one.parameters.items() if v is not None)
    accuracy = f"{one.value:.1%}" if one.value is not None else "no accuracy"
    return f"Trial {one.number}, {one.state}: {accuracy}; {made}" + (f"; {one.why}" if one.why else "")
