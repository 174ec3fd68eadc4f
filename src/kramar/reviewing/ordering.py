"""Which photo a person decides next: the one that the model learns most from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kramar.errors import InputError
from kramar.reviewing.records import Embedding

Floats = npt.NDArray[np.floating]

# What a pair of classes weighs that is confused as often as any; a pair that nothing else is confused by, 0 of it.
_CONFUSION = 1.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A photo that waits: the two most probable labels, the difference of their probabilities, what the model saw."""

    id: int
    labels: tuple[str, str]
    margin: float
    embedding: Embedding


Strategy = Callable[[Sequence[Waiting], int, Sequence[Waiting], np.random.Generator], list[int]]


def ranked(
    strategy: str, waiting: Sequence[Waiting], most: int, beside: Sequence[Waiting], random: np.random.Generator
) -> list[int]:
    """The ids of at most ``most`` of ``waiting``, the most useful first; ``beside`` are those that others decide now.

    Raises InputError where ``strategy`` is none of STRATEGIES.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"order of the queue: expected one of {', '.join(STRATEGIES)}, found {strategy!r}")
    return STRATEGIES[strategy](waiting, most, beside, random) if waiting else []


def _random(
    waiting: Sequence[Waiting], most: int, _beside: Sequence[Waiting], random: np.random.Generator
) -> list[int]:
    return [waiting[place].id for place in random.permutation(len(waiting))[:most].tolist()]


def _uncertain(
    waiting: Sequence[Waiting], most: int, _beside: Sequence[Waiting], _random: np.random.Generator
) -> list[int]:
    """The smallest margin first (Scheffer et al. 2001): between which two classes a boundary runs, it tells best."""
    return [one.id for one in sorted(waiting, key=lambda one: (one.margin, one.id))[:most]]


def _diverse(
    waiting: Sequence[Waiting], most: int, beside: Sequence[Waiting], _random: np.random.Generator
) -> list[int]:
    """Uncertain photos of classes that are confused often, each far from those before it.

    One after the other, the photo of the largest u (1 + c) d: u is 1 less its margin, c how often its two likeliest
    classes are the two of a photo, as a share of the most frequent pair's, and d the cosine distance from the nearest
    photo that is chosen or decided elsewhere (as in k-center, Sener and Savarese 2018, arXiv:1708.00489, weighed).
    """
    pairs = Counter(frozenset(one.labels) for one in waiting)
    often = max(pairs.values())
    gain = np.array(
        [(1 - one.margin) * (1 + _CONFUSION * pairs[frozenset(one.labels)] / often) for one in waiting], np.float32
    )
    seen = _directions(waiting, beside)
    own, others = seen[: len(waiting)], seen[len(waiting) :]
    distance = np.ones(len(waiting), np.float32) if not len(others) else 1 - (own @ others.T).max(axis=1)
    chosen: list[int] = []
    for _ in range(min(most, len(waiting))):
        place = int(np.argmax(gain * np.maximum(distance, 1e-6)))
        chosen.append(place)
        distance = np.minimum(distance, 1 - own @ own[place])
        gain[place] = -1.0
    return [waiting[place].id for place in chosen]


def _directions(waiting: Sequence[Waiting], beside: Sequence[Waiting]) -> npt.NDArray[np.float32]:
    """Embeddings as directions from the mean of those that wait, ``[N, D]``; those of other models' widths are none."""
    width = len(waiting[0].embedding)
    found = np.zeros((len(waiting) + len(beside), width), np.float32)
    for place, one in enumerate((*waiting, *beside)):
        if len(one.embedding) == width:
            found[place] = one.embedding
    found -= found[: len(waiting)].mean(axis=0)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12), np.float32)


STRATEGIES: dict[str, Strategy] = {"diverse": _diverse, "uncertain": _uncertain, "random": _random}
DEFAULT_STRATEGY = "diverse"
