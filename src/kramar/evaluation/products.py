"""One answer a product, by all of its photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kramar.evaluation.metrics import SMALLEST, Array, Scored, score
from kramar.records import ProductScores


def pooled(probabilities: npt.NDArray[np.floating], sizes: Sequence[int]) -> Array:
    """Probabilities of products, float64 ``[P, C]``: the geometric mean of their photos', scaled to sum to 1.

    ``probabilities`` are ``[N, C]``, a product's photos one after another; ``sizes``, P of them, how many those are, at
    least 1 each.
    """
    logs = np.log(np.maximum(probabilities, SMALLEST), dtype=np.float64)
    photos = np.array(sizes, np.int64)
    mean = np.add.reduceat(logs, np.cumsum(photos) - photos) / photos[:, None]
    likely = np.exp(mean - mean.max(axis=1, keepdims=True))
    return np.asarray(likely / likely.sum(axis=1, keepdims=True))


def products(scored: Scored, names: Sequence[str], seed: int) -> ProductScores | None:
    """Scores of the products that the photos show; None where none of them has several photos.

    A product counts once, however many photos it has. Photos without a product are no product, and one whose photos
    carry different labels has no one right answer: it is left out, and counted.

    Args:
        scored: the photos; those of one product share a group.
        names: the product of each, N of them; empty where there is none.
        seed: draws the bootstrap.
    """
    shown: dict[str, list[int]] = {}
    for photo, name in enumerate(names):
        if name:
            shown.setdefault(name, []).append(photo)
    alike = [photos for photos in shown.values() if len({scored.labels[photo] for photo in photos}) == 1]
    several = sum(len(photos) > 1 for photos in alike)
    if not several:
        return None
    all_photos = [photo for photos in alike for photo in photos]
    first = [photos[0] for photos in alike]
    answers = Scored.of(
        pooled(scored.probabilities[all_photos], [len(photos) for photos in alike]),
        [scored.labels[photo] for photo in first],
        scored.classes,
        [scored.groups[photo] for photo in first],
    )
    return ProductScores(
        metrics=score(answers, seed), photos=len(all_photos), several=several, left_out=len(shown) - len(alike)
    )
