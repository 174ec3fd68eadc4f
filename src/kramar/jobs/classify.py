"""``kramar classify``: photos in, predictions out, in order and in constant memory."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from kramar.config import DEFAULT_TOP, whole_number
from kramar.data.folders import search
from kramar.data.listing import HIDDEN, NoPhoto, Photo, PhotoFile
from kramar.data.pixels import Pixels
from kramar.data.tables import SUFFIXES as TABLE_SUFFIXES
from kramar.data.tables import list_images
from kramar.errors import DataError, InputError, PhotoError
from kramar.evaluation.products import pooled
from kramar.files import make_folder, replacing
from kramar.jobs.doubts import Doubts, refuse_without_queue
from kramar.jobs.doubts import keep_days as days
from kramar.jobs.prediction_files import Write, nowhere, prediction_file
from kramar.progress import Progress, Silent
from kramar.records import LeftOut, Prediction
from kramar.runtime.heat import HeatMaps
from kramar.runtime.model import Answer, Model


@dataclass(frozen=True, slots=True)
class Named:
    """A photo, its name as the user gave it, and the product that it shows, where that counts."""

    name: str
    photo: Photo
    product: str = ""

    def read(self) -> bytes:
        """See Photo."""
        return self.photo.read()


# What is said of a photo, or of a product by its first photo.
Told = tuple[Named, Answer | PhotoError]


def classify(
    model: str | os.PathLike[str] | Model,
    photos: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    explain: str | os.PathLike[str] | None = None,
    products: bool = False,
    queue: bool = False,
    database: str | None = None,
    spot_check: str | float | None = None,
    keep_days: int | None = None,
    top: int = DEFAULT_TOP,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """Predictions for photo files, folders, glob patterns and tables, as they are made.

    Args:
        model: a model file, or an open one.
        photos: what to classify; folders are searched in depth, tables give their ``image`` column. Links and folders
            that lead nowhere are predictions with ``error``; files that are no photos are counted to ``progress``.
        out: a ``.csv``, ``.jsonl`` or ``.parquet`` file to write them to as well; it is there when the last is made.
        explain: a folder for a heat map of each photo: where its label was seen (`heat_file` names it).
        products: one prediction for each product of a table, by all of its photos: ``image`` is then the name of the
            product. Rows without a product stand for themselves.
        queue: put the photos that are not ``auto`` into the review queue.
        database: where that is: a file, or a URL of SQLite or PostgreSQL; by default ``review.sqlite`` beside
            the model.
        spot_check: a share of the ``auto`` photos that is put into it as well, to check what the model promises.
        keep_days: keep copies of the queued photos in it for so many days; by default it knows only where they are.
        top: how many of the most probable labels each prediction lists.
        columns: the table's column names by kramar's.
        strict: raise DataError after the last prediction where any has an ``error``; ``out`` is written all the same.
        progress: who listens; nobody by default.

    Raises:
        InputError: before the first prediction, where an argument names nothing, the model has no heat maps, no
            decisions to queue by, or no table says which products there are.
        OutputError: a file cannot be written.
    """
    top = whole_number(top, "--top", 1)
    opened = model if isinstance(model, Model) else Model(model)
    given = [photos] if isinstance(photos, str | os.PathLike) else photos
    listener = progress or Silent()
    listing = Listing(columns or {}, listener, products=products)
    named = [photo for argument in given for photo in listing.of(os.fspath(argument))]
    if not named:
        raise InputError("no photos given; name files, folders, patterns or a table")
    writer = prediction_file(Path(out)) if out is not None else nowhere()
    if not queue:
        refuse_without_queue(database=database, spot_check=spot_check, keep_days=keep_days)
    if products:
        if explain is not None:
            raise InputError("--explain shows what was seen in each photo; leave --products away, or --explain")
        if queue:
            raise InputError("--queue asks what each photo shows; leave --products away, or --queue")
        shown = _by_product(named)
        answers = _pooled(shown, opened, listener)
        return _written(opened, answers, len(shown), top, writer, listener, what="products", strict=strict)
    doubts = Doubts(opened, database, spot_check, days(keep_days), listener) if queue else None
    ask: Callable[[Pixels], Iterable[Answer]] = opened.embedded if queue else opened.answers
    folder = None
    if explain is not None:
        ask, folder = HeatMaps(opened).explained, Path(explain)
        make_folder(folder)
    told = opened.stream_of(named, ask)
    return _written(
        opened, told, len(named), top, writer, listener, what="photos", strict=strict, heat=folder, doubts=doubts
    )


def heat_file(folder: Path, image: str) -> Path:
    """Where in ``folder`` the heat map of the photo ``image`` is: under the photo's own folders."""
    path = Path(image)
    inside = [part for part in path.parts if part not in (path.anchor, "..")]
    return folder.joinpath(*inside[:-1], f"{inside[-1] if inside else 'photo'}.heat.jpg")


def _written(
    model: Model,
    told: Iterable[Told],
    total: int,
    top: int,
    writer: AbstractContextManager[Write],
    listener: Progress,
    *,
    what: str,
    strict: bool,
    heat: Path | None = None,
    doubts: Doubts | None = None,
) -> Iterator[Prediction]:
    bad = 0
    with writer as write, doubts or nullcontext(), listener.stage(f"Classifying {what}", total) as advance:
        for named, found in told:
            if isinstance(found, PhotoError):
                prediction = Prediction(image=named.name, error=str(found))
            else:
                prediction = model.predict(named.name, found, top)
                if heat and found.heat_map:
                    with replacing(heat_file(heat, named.name)) as temporary:
                        temporary.write_bytes(found.heat_map)
                if doubts is not None:
                    doubts.see(named.name, named.photo, found)
            write(prediction)
            bad += bool(prediction.error)
            advance(1)
            yield prediction
    if strict and bad:
        raise DataError(
            f"--strict, and {bad:,} of {total:,} {what} could not be read: their rows say why; "
            "mend or remove them, or leave --strict away"
        )


def _by_product(named: Sequence[Named]) -> list[list[Named]]:
    """The photos of each product, in the order of their first ones; a photo without a product stands for itself."""
    shown: dict[str | int, list[Named]] = {}
    for row, photo in enumerate(named):
        shown.setdefault(photo.product or row, []).append(photo)
    return list(shown.values())


def _pooled(products: Sequence[Sequence[Named]], model: Model, listener: Progress) -> Iterator[Told]:
    """One answer a product, by those of its photos that can be read; what is left out is said."""
    answers = model.stream_of(chain.from_iterable(products), model.answers)
    for photos in products:
        shown = Named(photos[0].product or photos[0].name, photos[0].photo)
        good: list[Answer] = []
        error: PhotoError | None = None
        for photo, found in islice(answers, len(photos)):
            if not isinstance(found, PhotoError):
                good.append(found)
                continue
            error = error or found
            if len(photos) > 1:
                listener.say(f"Warning: product {shown.name!r}: {photo.name!r} is left out: {found}")
        assert error is not None or good, "a product has photos"
        yield shown, _together(good) if good else error  # type: ignore[misc]  # see above


def _together(answers: Sequence[Answer]) -> Answer:
    """What photos of one thing say together."""
    if len(answers) == 1:
        return answers[0]  # to the last digit what it says alone
    (together,) = pooled(np.stack([one.probabilities for one in answers]), [len(answers)])
    scores = [one.unknown for one in answers if one.unknown is not None]
    return Answer(together.astype(np.float32), float(np.mean(scores)) if scores else None)


class Listing:
    """The photos that arguments stand for."""

    def __init__(self, columns: Mapping[str, str], listener: Progress, *, products: bool) -> None:
        self._columns, self._listener, self._products = columns, listener, products

    def of(self, argument: str) -> list[Named]:
        """Those of one argument. Raises DataError where it is nothing."""
        path = Path(argument)
        try:
            is_folder, is_file = path.is_dir(), path.is_file()
        except OSError as error:
            raise DataError(f"{argument}: cannot be opened ({error.strerror or error})") from error
        if is_file and path.suffix.lower() in TABLE_SUFFIXES:
            return self._in_table(path)
        if self._products and (is_folder or is_file):
            raise InputError(f"--products: expected a table with a column product, found {argument!r}")
        if is_folder:
            return _in_folder(path, self._listener)
        if is_file:
            return [Named(argument, PhotoFile(path))]
        if path.is_symlink():  # one of the names that a shell's pattern found, most likely
            return [Named(argument, NoPhoto("missing", "the link leads to no file"))]
        # A shell that finds nothing passes the pattern on; and some users have none that expands them.
        if glob.has_magic(argument) and (matches := sorted(glob.glob(argument, recursive=True))):  # noqa: PTH207 - Path.glob takes no absolute pattern
            return [photo for match in matches for photo in self.of(match)]
        raise DataError(f"{argument}: no such photo, folder or table, and no photo fits it as a pattern")

    def _in_table(self, table: Path) -> list[Named]:
        images, warnings = list_images(table, self._columns, products=self._products)
        for warning in warnings:
            self._listener.say(f"Warning: {warning}")
        return [Named(image, photo, product) for image, photo, product in images]


def _in_folder(folder: Path, listener: Progress) -> list[Named]:
    photos, others = search(folder)
    if not photos:
        found = f"none but {_counted(others)}" if others else "none"
        tables = [folder / out.image for out in others if out.image.lower().endswith(TABLE_SUFFIXES)]
        advice = f"if {tables[0].name} is the table of the photos, give {tables[0]}" if tables else "check the path"
        raise DataError(f"{folder}: expected photos in the folder, found {found}; {advice}")
    if others:
        listener.say(f"{folder}: left out {_counted(others)}")
    return [Named(name, photo) for name, photo in photos]


def _counted(others: Sequence[LeftOut]) -> str:
    hidden = sum(out.kind == HIDDEN for out in others)
    counts = {"not named like photos": len(others) - hidden, "hidden": hidden}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
