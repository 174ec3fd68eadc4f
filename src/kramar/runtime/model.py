"""A kramar model file: what it says of itself, and what it says of photos."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

import numpy as np
from PIL import Image
from pydantic import ValidationError

from kramar.config import DEFAULT_TOP, cores
from kramar.data.listing import Photo, PhotoFile
from kramar.data.pixels import Pixels, as_image, in_order, prepare, square
from kramar.errors import ModelFileError, PhotoError
from kramar.records import CARD_SCHEMA, ModelCard, Prediction, Ranked, Record
from kramar.runtime.rule import Rule
from kramar.runtime.session import OnnxSession, Scores, any_photo, median_milliseconds

# Large enough to keep every core busy (8 photos run within 5% of the best batch), small enough to stay in cache.
BATCH = 8

PhotoLike: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | Pixels | Photo
P = TypeVar("P", bound=PhotoLike)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model file says of one photo.

    Attributes:
        probabilities: of the classes, float32 ``[C]``.
        unknown: how unlike all that it learnt from the photo is; None where the file does not tell.
        heat_map: a JPEG of where its likeliest class was seen; empty where nobody asked (`runtime.heat`).
        embedding: what the model saw, float32 ``[D]``; None where nobody asked.
    """

    probabilities: Scores
    unknown: float | None = None
    heat_map: bytes = b""
    embedding: Scores | None = None

    @staticmethod
    def of(found: Sequence[Scores], embeddings: Scores | None = None) -> list[Answer]:
        """An answer for each photo, of what the outputs `Model.asked` gave for all of them."""
        probabilities, *unknown = found
        scores = unknown[0].tolist() if unknown else [None] * len(probabilities)
        seen = [None] * len(probabilities) if embeddings is None else [*embeddings]
        return [
            Answer(one, score, embedding=embedding)
            for one, score, embedding in zip(probabilities, scores, seen, strict=True)
        ]


class _Written(Record):
    """What any schema says of itself, so that a newer one is known by its number and not by a missing field."""

    schema_version: int
    kramar: str = ""


class Model:
    """An open ``model.onnx``."""

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        """Open ``path`` on ``threads`` threads (default: all cores). Raises ModelFileError."""
        self.path = Path(path)
        self._session = OnnxSession(self.path, threads)
        self.card = self._read_card()
        self.rule = None if self.card.decisions is None else Rule(self.card.decisions, self.card.classes)

    def _read_card(self) -> ModelCard:
        document = self._session.metadata.get("kramar")
        if document is None:
            raise ModelFileError(
                f"{self.path}: not a kramar model file (no 'kramar' metadata); use a kramar run's model.onnx"
            )
        try:
            written = _Written.model_validate_json(document)
            if written.schema_version > CARD_SCHEMA:
                raise ModelFileError(
                    f"{self.path}: written for a newer kramar ({written.kramar}); upgrade with pip install -U kramar"
                )
            card = ModelCard.model_validate_json(document)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "the document"
            raise ModelFileError(
                f"{self.path}: broken 'kramar' metadata at {where}: {problem['msg']}; use the file as its run wrote it"
            ) from None
        probabilities = self._session.outputs.get("probabilities")
        if probabilities is None or probabilities[-1] != len(card.classes):
            raise ModelFileError(
                f"{self.path}: its outputs do not fit the {len(card.classes)} classes that it names; "
                "use the file as its run wrote it"
            )
        size = card.resize.size
        if not _fits(self._session.inputs.get("images", [])[1:], (size, size, 3)):
            raise ModelFileError(
                f"{self.path}: its input does not fit the {size} x {size} pixels that it names; "
                "use the file as its run wrote it"
            )
        return card

    def __repr__(self) -> str:
        return f"Model({str(self.path)!r}, {len(self.card.classes)} classes)"

    @property
    def classes(self) -> list[str]:
        """Labels in the order of the outputs."""
        return [entry.label for entry in self.card.classes]

    def milliseconds(self) -> float:
        """Median time of the model on one ready photo on this machine, decoding excluded."""
        return in_turns([self])[0]

    def scores(self, images: Pixels) -> Scores:
        """Calibrated probabilities, float32 ``[N, C]``, for uint8 ``[N, S, S, 3]`` RGB images."""
        return self._session.run(images, ["probabilities"])[0]

    def logits(self, images: Pixels) -> Scores:
        """Scores before temperature and softmax, float32 ``[N, C]``, for uint8 ``[N, S, S, 3]`` RGB images."""
        return self._session.run(images, ["logits"])[0]

    def outputs(self, images: Pixels, names: Sequence[str]) -> list[Scores]:
        """The named outputs, float32 ``[N, ...]``, for uint8 ``[N, S, S, 3]`` RGB images."""
        return self._session.run(images, names)

    def has(self, output: str) -> bool:
        """Whether the file gives this output."""
        return output in self._session.outputs

    @property
    def asked(self) -> list[str]:
        """The outputs that make an answer."""
        return ["probabilities", "unknown_score"] if self.has("unknown_score") else ["probabilities"]

    def answers(self, images: Pixels) -> list[Answer]:
        """An answer for each of uint8 ``[N, S, S, 3]`` RGB images."""
        return Answer.of(self.outputs(images, self.asked))

    def embedded(self, images: Pixels) -> list[Answer]:
        """The same, each with what the model saw."""
        *found, embeddings = self.outputs(images, [*self.asked, "embedding"])
        return Answer.of(found, embeddings)

    def stream_of(
        self, photos: Iterable[P], ask: Callable[[Pixels], Iterable[T]]
    ) -> Iterator[tuple[P, T | PhotoError]]:
        """Each photo with what ``ask`` makes of it, or why there is nothing; in order, in constant memory.

        ``ask`` takes uint8 ``[N, S, S, 3]`` images and gives N results.
        """

        def pixels(photo: P) -> tuple[P, Pixels | PhotoError]:
            try:
                return photo, self.pixels(photo)
            except PhotoError as error:
                return photo, error

        decoded = in_order(pixels, photos, threads=cores(), ahead=4 * BATCH)
        for batch in _batches(decoded):
            good = [found for _, found in batch if not isinstance(found, PhotoError)]
            results = iter(ask(np.stack(good)) if good else ())
            for photo, found in batch:
                yield photo, found if isinstance(found, PhotoError) else next(results)

    def stream_scores(self, photos: Iterable[P]) -> Iterator[tuple[P, Scores | PhotoError]]:
        """As `stream_of`: probabilities, float32 ``[C]``."""
        return self.stream_of(photos, self.scores)

    def pixels(self, photo: PhotoLike) -> Pixels:
        """The model's input, uint8 ``[S, S, 3]``, for one photo. Raises PhotoError."""
        rule = self.card.resize
        if isinstance(photo, Image.Image | np.ndarray):
            return square(as_image(photo), rule)
        if isinstance(photo, bytes):
            return prepare(photo, rule)
        if isinstance(photo, str | os.PathLike):
            photo = PhotoFile(Path(photo))
        return prepare(photo.read(), rule)

    def stream(self, photos: Iterable[PhotoLike], top: int = DEFAULT_TOP) -> Iterator[Prediction]:
        """A prediction for each photo, in order, in constant memory; unreadable ones carry ``error``."""
        for photo, found in self.stream_of(photos, self.answers):
            name = _name(photo)
            if isinstance(found, PhotoError):
                yield Prediction(image=name, error=str(found))
            else:
                yield self.predict(name, found, top)

    def predict(self, image: str, answer: Answer, top: int = DEFAULT_TOP) -> Prediction:
        """The prediction that an answer amounts to."""
        probabilities = answer.probabilities
        best = np.argsort(-probabilities, kind="stable")[:top]
        first = self.card.classes[best[0]]
        unknown = None if answer.unknown is None else np.array([answer.unknown])
        decided = None if self.rule is None else self.rule(probabilities[None], unknown)[0]
        return Prediction(
            image=image,
            label=first.label,
            probability=float(probabilities[best[0]]),
            category=first.category if decided is None else decided.category,
            decision="" if decided is None else decided.decision,
            set=[] if decided is None else [self.card.classes[i].label for i in decided.members],
            unknown_score=answer.unknown,
            top=[Ranked(label=self.card.classes[i].label, probability=float(probabilities[i])) for i in best],
        )

    def classify(self, photos: PhotoLike | Sequence[PhotoLike], top: int = DEFAULT_TOP) -> list[Prediction]:
        """A prediction for each of ``photos`` (paths, encoded bytes, Pillow images or uint8 arrays), in order; or for
        one of these alone."""
        return list(self.stream(_several(photos), max(top, 1)))


def _several(photos: PhotoLike | Sequence[PhotoLike]) -> Iterable[PhotoLike]:
    """One photo as one of several; an array of several has four axes."""
    if isinstance(photos, np.ndarray):
        return [photos] if photos.ndim < 4 else list(photos)
    if isinstance(photos, Sequence) and not isinstance(photos, str | bytes):
        return photos
    return [cast("PhotoLike", photos)]


def _name(photo: PhotoLike) -> str:
    if isinstance(photo, str | os.PathLike):
        return os.fspath(photo)
    return str(photo.path) if isinstance(photo, PhotoFile) else ""


def _fits(shape: Sequence[int | str], sides: Sequence[int]) -> bool:
    """Whether images with these ``sides`` can be given where ``shape`` is asked for; a side that varies is a name."""
    return len(shape) == len(sides) and all(
        asked == side for asked, side in zip(shape, sides, strict=True) if isinstance(asked, int)
    )


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def in_turns(models: Sequence[Model]) -> list[float]:
    """Median milliseconds of one ready photo, of models of one input size, which take turns."""
    photo = any_photo(models[0].card.resize.size)
    return median_milliseconds(*(functools.partial(model.scores, photo) for model in models))
