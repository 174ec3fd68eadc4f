"""The page of one training run: what it shows of the record, and how much of it."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kramar.errors import MissingExtra
from kramar.records import ClassScore, Mistake, RunRecord
from kramar.report import charts, climb
from kramar.report.album import Album, shelves
from kramar.report.confusion import heat_map
from kramar.report.wording import DRAWN, FILTERS, PART_NAMES, STEPS, count, counted, headline, name, share, unit

try:
    import jinja2
except ImportError:
    raise MissingExtra("train", "writing a report") from None

METRICS = (
    ("accuracy", "Accuracy", "first guess right"),
    ("top5", "Top-5 accuracy", "right category among the five best guesses"),
    ("balanced_accuracy", "Balanced accuracy", "every category counts the same"),
    ("macro_f1", "Macro-F1", "every category counts the same"),
    ("log_loss", "Log loss", "nats; lower is better"),
    ("calibration_error", "Calibration error", "lower is better"),
)
# With fewer categories, five guesses hold the right one almost always, whatever the model: run.json keeps the figure.
TOP5_CLASSES = 11
# What cannot stand in an HTML page: control characters, and the halves of surrogate pairs that Python puts
# into file names that are not UTF-8.
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Extent:
    """How many rows stand open on the page; the rest is folded away, and what is in neither is counted.

    Folded lists of at most ``printed`` rows are unfolded on paper.
    """

    classes: int
    confusions: int = 12
    listed_confusions: int = 200
    mistakes: int = 24
    trials: int = 12
    left_out: int = 500
    printed: int = 120

    @classmethod
    def of(cls, classes: int) -> Extent:
        """Up to 24 classes are shown whole; of more, a dozen stand for the rest."""
        return cls(classes if classes <= 24 else 12)


@dataclass(frozen=True, slots=True)
class PicturedMistake:
    """A mistake, its picture as a ``data:`` URI (None: only the name can be shown), and where its answer was seen."""

    mistake: Mistake
    uri: str | None
    heat: str | None


def render(
    record: RunRecord,
    samples: Mapping[str, Sequence[str]],
    thumbnail: Callable[[str], bytes | None],
    heat: Callable[[str], bytes | None] = lambda _image: None,
) -> str:
    """The run's ``report.html``: one file that loads nothing from elsewhere.

    ``samples`` gives a few image names by class label. ``thumbnail`` makes an image's small JPEG, PNG or WebP,
    or None where it cannot; it is asked for mistakes first, then for samples, until the album is full. ``heat`` does
    the same of where the answer was seen.
    """
    extent = Extent.of(len(record.classes))
    by_size = sorted(record.classes, key=lambda score: (-sum(score.photos.values()), score.label))
    part = scored_part(record)
    scores = record.metrics.get(part)
    album = Album(thumbnail)
    mistakes = [
        PicturedMistake(mistake, album.picture(mistake.image), album.add(heat, mistake.image))
        for mistake in record.mistakes[: extent.mistakes]
    ]
    filled = shelves(album, {score.label: samples.get(score.label, ()) for score in by_size})
    with_top5 = record.data.classes >= TOP5_CLASSES
    accuracy = top5 = waffle = None
    if scores:
        # One unit for the whole page: a photo is a photo in every sentence and square.
        of = unit(scores.accuracy)
        accuracy = headline(scores.accuracy, of)
        top5 = headline(scores.top5, of) if with_top5 else None
        waffle = charts.waffle(accuracy.about, top5.about if top5 else accuracy.about, of)
    page = (
        templates()
        .get_template("template.html.j2")
        .render(
            record=record,
            extent=extent,
            part=part,
            scores=scores,
            headline=accuracy,
            top5=top5,
            with_top5=with_top5,
            waffle=waffle,
            cautions=cautions(record),
            mistakes=mistakes,
            by_size=by_size,
            worst_first=worst_first(record.classes),
            shelves=filled,
            shelves_left_off=sum(shelf.left_off for shelf in filled.values()),
            skyline=charts.skyline([score.photos for score in by_size]),
            largest=max((sum(score.photos.values()) for score in by_size), default=0),
            parts=charts.PARTS,
            parts_shown=[part for part in charts.PARTS if any(score.photos.get(part) for score in by_size)],
            reliability=charts.reliability(record.calibration),
            thirds=charts.thirds(record.calibration),
            coverage=charts.coverage(record.decisions.curve, record.decisions.precision_target)
            if record.decisions
            else None,
            spread=charts.spread(record.decisions.set_by_class.values()) if record.decisions else None,
            answered=charts.spread(record.decisions.precision_by_class.values()) if record.decisions else None,
            heat=heat_map(record.confusions, record.classes),
            metric_rows=[row for row in METRICS if with_top5 or row[0] != "top5"],
            steps=STEPS,
            climb=climb.climb(record.ladder),
            climb_box=(climb.WIDTH, climb.HEIGHT),
        )
    )
    return UNPRINTABLE.sub("\ufffd", page)


def scored_part(record: RunRecord) -> str:
    """The part that the page's figures are measured on: test, else val, else none (an empty string)."""
    return next((part for part in ("test", "val") if part in record.metrics), "")


def worst_first(classes: Sequence[ClassScore]) -> list[ClassScore]:
    """Lowest recall first, the surer of equals before the less sure; classes that were not scored come last."""

    def key(score: ClassScore) -> tuple[float, float, str]:
        if score.recall is None:
            return 2.0, 2.0, score.label
        return score.recall.value, score.recall.high, score.label

    return sorted(classes, key=key)


def cautions(record: RunRecord) -> list[str]:
    """What a reader must know before relying on the figures: the data's warnings and the page's own."""
    found = list(record.data.warnings)
    part = scored_part(record)
    if leakage := record.leakage:
        less = f", and {share(leakage.without.value)} without them" if leakage.without else ""
        found.append(
            f"{counted(leakage.photos, 'test photo')} also in training or validation, as a copy: accuracy is "
            f"{share(leakage.accuracy.value)} with them{less}. kramar audit shows them, and --fix writes a table "
            "without the copies."
        )
    if part == "test" and record.data.split_from == "kramar":
        found.append(DRAWN)
    if part == "val":
        found.append(
            "Nothing was tested: no test photos were set aside. The figures are from the validation photos, "
            "which settings were chosen on, and so are probably kinder than new photos will be."
        )
    if not part:
        found.append("Nothing was measured: there were neither test nor validation photos.")
    unscored = [name(score.label) for score in record.classes if score.recall is None]
    if part and unscored:
        listed = ", ".join(unscored[:5]) + (f" and {count(len(unscored) - 5)} more" if len(unscored) > 5 else "")
        found.append(
            f"How well a category is recognised is unknown where no {PART_NAMES[part]} photo shows it: {listed}."
        )
    if record.verification.label_differences:
        found.append(
            f"The model file names another category than its source on "
            f"{count(record.verification.label_differences)} of {counted(record.verification.photos, 'photo')}."
        )
    return found


@functools.cache
def templates() -> jinja2.Environment:
    """The pages' templates, with the filters and names that all of them share."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kramar.report", package_path="."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    script = environment.get_template("sort.js").render()
    # The page's own policy lets exactly this script run, so that nothing in a label ever could.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    environment.globals.update(script_digest=digest, part_names=PART_NAMES)
    return environment
