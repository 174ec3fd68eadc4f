"""Smaller copies of a model: how they are made, what was found of them, and which is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kramar.data.pixels import Pixels
from kramar.exporting import storage
from kramar.exporting.storage import AGREEMENT, EXACT
from kramar.records import Estimate
from kramar.training.climb import Limits

# A model may take another's place when validation shows no larger loss than this; a copy, when enough labels agree too.
MOST_LOST = 0.005
# Faster arithmetic is preferred to exact weights only where it is faster by so much.
WORTH = 1.1
# Bytes of a model file, from another.
Make = Callable[[Path, Path], None]


@dataclass(frozen=True, slots=True)
class Way:
    """How a copy is made.

    Attributes:
        method: and ``kept``, what it leaves as it was, in words.
        make: writes the copy of a model file to a target.
        quick: whether that takes a second or two; else it looks at photos first.
    """

    method: str
    storage: str
    make: Make
    kept: str = ""
    quick: bool = False

    @property
    def how(self) -> str:
        """All of it in words."""
        return f"{self.method}, {self.kept}" if self.kept else self.method

    def needless(self, passed: Way) -> bool:
        """Whether it is not worth trying after one that ``passed``: it leaves more as it was, or stores more."""
        return self.storage == "float16" or self.method == passed.method


@dataclass(frozen=True, slots=True)
class Copy:
    """A smaller file and what was found of it; ``faster``, so many times as fast as its source."""

    way: Way
    path: Path
    agreement: Estimate
    lost: Estimate | None
    milliseconds: float
    faster: float
    bytes: int

    @property
    def passed(self) -> bool:
        """Whether it may stand for its source."""
        return self.agreement.value >= AGREEMENT and (self.lost is None or self.lost.value <= MOST_LOST)

    @property
    def note(self) -> str:
        """What was found, in words."""
        lost = (
            ""
            if self.lost is None
            else (
                f", validation accuracy {-100 * self.lost.value:+.1f} points "
                f"({-100 * self.lost.high:+.1f} to {-100 * self.lost.low:+.1f})"
            )
        )
        return f"{self.way.how}: its labels agree on {self.agreement.percent()}{lost}"


def ways(calibration: Sequence[Pixels], *, controlled: bool) -> list[Way]:
    """How copies of a model's own size are made, those first that are preferred; ``controlled``: as much of the
    arithmetic as keeps the labels becomes int8, whatever time that takes."""
    exact = EXACT if controlled else EXACT[:1]
    libraries = {"int8 by ONNX Runtime": storage.int8_onnxruntime}
    if controlled:
        libraries["int8 by NNCF"] = storage.int8_nncf
    return [
        *(
            Way(
                method,
                "int8",
                partial(quantise, photos=calibration, exact=first),
                f"the first {first} convolutions float32" if first else "",
            )
            for method, quantise in libraries.items()
            for first in exact
        ),
        Way("int8 weights, float32 arithmetic", "int8", storage.int8_weights, quick=True),
        Way("float16 weights, float32 arithmetic", "float16", storage.float16, quick=True),
    ]


def still(left: Sequence[Way], made: Sequence[Copy], limits: Limits, *, stopped: bool) -> list[Way]:
    """The ways among those ``left`` that are worth trying after the copies that are ``made``.

    Once the user wants an end (``stopped``), the quick ones first, and only until a copy is within the limits and
    passes; the others only while none is within the limits.
    """
    worth = [way for way in left if not any(copy.passed and way.needless(copy.way) for copy in made)]
    if not stopped:
        return worth
    able = [copy for copy in made if limits.fits(copy)]
    if any(copy.passed for copy in able):
        return []
    return [*(way for way in worth if way.quick), *(way for way in worth if not way.quick and not able)]


def chosen(made: Sequence[Copy], limits: Limits) -> Copy:
    """Of those within the limits that pass, the fastest if it is worth it, or else the smallest.

    Where none passes, the most alike of those within the limits; where none is, of all.
    """
    able = [copy for copy in made if limits.fits(copy)] or made
    good = [copy for copy in able if copy.passed]
    if not good:
        return max(able, key=lambda copy: copy.agreement.value)
    fastest = max(good, key=lambda copy: copy.faster)
    return fastest if fastest.faster >= WORTH else min(good, key=lambda copy: copy.bytes)
