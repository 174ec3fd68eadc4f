"""What the rungs of the ladder share: the photos, the clock, the limits, and what each of them leaves behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import Field, ValidationError

from kramar.config import TrainConfig, cores
from kramar.data.manifest import Entry
from kramar.errors import ExportError
from kramar.evaluation.metrics import score
from kramar.files import replacing, write_text
from kramar.models import latency, squares
from kramar.progress import Progress
from kramar.records import Epoch, HeadRecord, Metrics, ModelCard, Record, ResizeRule, Verification
from kramar.runtime.model import Model
from kramar.runtime.session import Scores
from kramar.training.material import Material

# Without validation photos, this many training photos show whether a file does what its source does.
VERIFIED = 300
# Two measurements of the same file differ by so much.
ALIKE = 1.25
# Bytes that a model file's card grows by, once it is kept and tested; and by each number that is promised of a class.
CARD_ROOM, _NUMBER_BYTES = 4000, 24


class Step(Record):
    """What was decided of a rung before it began; a resumed run repeats it.

    Attributes:
        do: whether it is climbed; ``why`` not, where it is not.
        expected: seconds.
        began: seconds into the run at which it was decided.
        numbers: what it needs to know: epochs, views, the cut.
        start: key of the rung whose network goes on.
        models: keys of the rungs that it is taught by, or copies.
        student: the architecture that learns, where it is not the first backbone.
    """

    do: bool
    why: str = ""
    expected: float = 0.0
    began: float = 0.0
    numbers: dict[str, float] = Field(default_factory=dict)
    start: str = ""
    models: list[str] = Field(default_factory=list)
    student: str = ""


class Learnt(Record):
    """What a rung knows of the model that it made.

    Attributes:
        how: what was trained, in a few words.
        expected: seconds that it was expected to take.
        temperature: fitted on validation photos (or, for a head, on folds).
        source: the rung that this is a smaller copy of; ``passed``, whether it may stand for that one, and ``note``,
            what was found of it.
    """

    key: str
    rung: str
    backbone: str
    storage: str = "float32"
    how: str
    expected: float
    temperature: float
    val: Metrics | None
    verification: Verification
    head: HeadRecord | None = None
    epochs: list[Epoch] = Field(default_factory=list)
    source: str = ""
    passed: bool = False
    note: str = ""


class Climbed(Learnt):
    """A rung that was climbed: its model file is ``models/KEY.onnx``, its validation logits ``models/KEY.npy``.

    Attributes:
        seconds: that it took, over all starts of the run.
        reached: seconds into the run at which it was done.
        bytes: of the file.
        milliseconds: of one ready photo in ONNX Runtime, and in OpenVINO where that is installed.
    """

    seconds: float
    reached: float
    bytes: int
    milliseconds: float
    openvino_milliseconds: float | None = None


class Measured(Protocol):
    """A model file of which the limits tell."""

    @property
    def bytes(self) -> int: ...  # noqa: D102

    @property
    def milliseconds(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model file may be at most: bytes on disk, milliseconds for one ready photo. None: as it comes.

    Attributes:
        card: bytes that a file's card grows by, once it is kept and tested.
    """

    size: float | None = None
    latency: float | None = None
    card: int = CARD_ROOM

    @staticmethod
    def of(config: TrainConfig, classes: int) -> Limits:
        """The limits that were asked for; what is promised of each class alone is written into the card as well."""
        of_each = config.class_precision + config.class_sets
        return Limits(config.max_size, config.max_latency, CARD_ROOM + _NUMBER_BYTES * of_each * classes)

    @property
    def bind(self) -> bool:
        """Whether there are any."""
        return self.size is not None or self.latency is not None

    def room(self, model: Measured) -> float:
        """Bytes that a file may still grow by, its card aside; negative where it is too large."""
        return np.inf if self.size is None else self.size - self.card - model.bytes

    def fits(self, model: Measured) -> bool:
        """Whether the file keeps to both."""
        return not self.excess(model)

    def met(self, models: Iterable[Measured]) -> bool:
        """Whether any of the files keeps to both."""
        return any(self.fits(model) for model in models)

    def excess(self, model: Measured) -> str:
        """By how much the file exceeds its limits, in words; nothing where it does not."""
        over = []
        if (room := self.room(model)) < 0:
            over.append(f"{-room / 1e6:.2f} MB over --max-size")
        if self.latency is not None and model.milliseconds > self.latency:
            over.append(f"{model.milliseconds - self.latency:.1f} ms over --max-latency")
        return " and ".join(over)

    def words(self) -> str:
        """The limits as options of the command line."""
        # As exactly as they were given: rounded down, they would refuse what they are to allow.
        size = "" if self.size is None else f"--max-size {self.size / 1e6:g}MB"
        return f"{size} {'' if self.latency is None else f'--max-latency {self.latency:g}ms'}".strip()

    def raised(self, models: Iterable[Measured]) -> list[Limits]:
        """How these limits could be raised for one of the files to be within them: the ways of which none asks for as
        much as another in both."""
        ways = {self._raised(model) for model in models}
        least = [way for way in ways if not any(other != way and other._within(way) for other in ways)]
        return sorted(least, key=lambda way: (way.size or 0.0, way.latency or 0.0))

    def _raised(self, model: Measured) -> Limits:
        size, latency = self.size, self.latency
        if self.room(model) < 0:
            size = 1e4 * math.ceil((model.bytes + self.card) / 1e4)
        if latency is not None and model.milliseconds > latency:
            latency = math.ceil(10 * ALIKE * model.milliseconds) / 10
        return Limits(size, latency, self.card)

    def _within(self, other: Limits) -> bool:
        return (self.size or 0.0) <= (other.size or 0.0) and (self.latency or 0.0) <= (other.latency or 0.0)


@dataclass(frozen=True)
class Ground:
    """What all rungs stand on.

    Attributes:
        folder: where rungs leave their files.
        elapsed: seconds since the run began, over all its starts.
        left: seconds of the budget that rungs may still use.
        stopped: whether the user wants the rung to end.
        card: of a model file, from what is its own.
        cache_size: bytes that cached maps may take.
        decode: photos a second that one core makes ready from their files.
    """

    folder: Path
    material: Material
    seed: int
    progress: Progress
    elapsed: Callable[[], float]
    left: Callable[[], float]
    stopped: Callable[[], bool]
    card: Callable[..., ModelCard]
    cache_size: float
    limits: Limits
    decode: float = math.inf

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.material.classes)

    def model_file(self, key: str) -> Path:
        """Where a rung's model file is."""
        return self.folder / f"{key}.onnx"

    def checkpoint(self, key: str) -> Path:
        """Where a rung's training is, from which a killed run goes on."""
        return self.folder / f"{key}.training.safetensors"

    def decoding(self, entries: Sequence[Entry], rule: ResizeRule, *, again: bool = False) -> float:
        """Seconds in which photos are decoded that the cache lacks; to be looked at ``again``, only those of more than
        it keeps.

        All cores decode what is kept; what is not, one does, while the others wait for it.
        """
        if not squares.fits(entries, rule):
            return len(entries) / self.decode
        return 0.0 if again else len(squares.missing(entries, rule)) / (cores() * self.decode)

    def judged(self, logits: Scores, temperature: float | None = None) -> tuple[float, Metrics | None]:
        """The temperature, fitted unless it is given, and the metrics of validation logits ``[N, C]``."""
        if temperature is None:
            temperature = self.material.temperature(logits)
        if not self.material.parts["val"]:
            return temperature, None
        return temperature, score(self.material.scored(logits, temperature, "val"), self.seed)

    def leave(self, learnt: Learnt, logits: Scores, step: Step) -> Climbed:
        """Measure the model file, which must be there, and write down that a rung is done.

        Raises OutputError.
        """
        path = self.model_file(learnt.key)
        model = Model(path)
        milliseconds = model.milliseconds()
        if self.limits.latency is not None and milliseconds > self.limits.latency:
            # It may have been a busy moment.
            milliseconds = min(milliseconds, model.milliseconds())
        reached = self.elapsed()
        climbed = Climbed(
            **dict(learnt),
            seconds=reached - step.began,
            reached=reached,
            bytes=path.stat().st_size,
            milliseconds=milliseconds,
            openvino_milliseconds=next(iter(self.in_openvino([model])), None),
        )
        with replacing(self.folder / f"{climbed.key}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, logits)
        write_text(self.folder / f"{climbed.key}.json", climbed.model_dump_json(indent=1))
        self.checkpoint(climbed.key).unlink(missing_ok=True)
        return climbed

    def in_openvino(self, models: Sequence[Model]) -> list[float]:
        """Milliseconds of each of ``models`` for one photo in OpenVINO; none where it is not there, or, which is said,
        where it cannot run them: another engine serves them."""
        try:
            return latency.in_openvino(models) or []
        except ExportError as error:
            self.progress.say(f"Warning: {error}")
            return []

    def done(self, key: str) -> Climbed | None:
        """The rung of an earlier start of this run, if it was finished."""
        try:
            return Climbed.model_validate_json((self.folder / f"{key}.json").read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return None

    def logits(self, key: str) -> Scores:
        """Validation logits ``[N, C]`` of a finished rung."""
        return np.asarray(np.load(self.folder / f"{key}.npy"))


class EndedError(Exception):
    """The user has asked for an end before anything was learnt."""


class Rung(Protocol):
    """One rung: what it would do with the time, and doing it.

    Attributes:
        key: the name of its files.
        rung: its name in the ladder.
    """

    key: str
    rung: str

    def plan(self, seconds: float, climbed: Mapping[str, Climbed]) -> Step:
        """What to do within ``seconds``, given the rungs below."""
        ...

    def climb(self, step: Step, climbed: Mapping[str, Climbed]) -> Climbed:
        """Do it. Raises ExportError, OutputError, TrainingError, and EndedError where there is nothing to keep."""
        ...
