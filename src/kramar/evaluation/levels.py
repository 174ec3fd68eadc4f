"""How far down the category tree a model's answers are right, and how far off its mistakes are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, takewhile

import numpy as np

from kramar.evaluation.intervals import score_interval
from kramar.evaluation.metrics import Scored, wilson
from kramar.records import Estimate, LevelScore, TreeScores

# The parts of a path, from the top; the root has none.
Node = tuple[str, ...]


def levels(scored: Scored, categories: Mapping[str, str]) -> TreeScores | None:
    """Scores at each level of the tree in which the classes stand; None where they all stand side by side.

    A class stands where its path leads, or one step below where several labels' paths lead to the same place. Level 1
    are the top categories; at the last level, that of the longest path, are the classes themselves. What is right at a
    level is an answer whose class is in the category that the truth is in there; a class whose path is shorter counts
    by its whole path. So a label that the model does not know can be right at all levels but the last.

    The distance of a mistake is the height of the lowest category that holds both truth and answer (Bertinetto et al.
    2020, Making Better Mistakes, CVPR): the steps from there down to the deepest label below it, whether that is the
    truth, the answer or neither. It is from 1, within a lowest category, to the number of levels, where even the top
    categories differ. By chance: what answers drawn from all classes but the true one would give.

    Args:
        scored: at least one photo.
        categories: the path of each label, with ``/``: of all of the model's classes, and of the photos'.
    """
    places = _places({*scored.classes, *scored.labels}, categories)
    classes = [places[label] for label in scored.classes]
    if max(map(len, classes)) == 1:
        return None
    heights = _heights(places.values())
    truth = [places[label] for label in scored.labels]
    answers = [classes[answer] for answer in scored.predicted.tolist()]
    pairs = Counter(zip(truth, answers, strict=True))
    wrong = np.flatnonzero(~scored.right).tolist()
    far = [heights[_meeting(truth[photo], answers[photo])] for photo in wrong]
    return TreeScores(
        levels=[
            LevelScore(
                level=level,
                categories=len({node[:level] for node in classes}),
                accuracy=wilson(sum(n for (a, b), n in pairs.items() if a[:level] == b[:level]), len(truth)),
            )
            for level in range(1, heights[()] + 1)
        ],
        distance=_mean(far, [scored.groups[photo] for photo in wrong], heights[()]) if wrong else None,
        chance_distance=_by_chance([truth[photo] for photo in wrong], heights, classes) if wrong else None,
    )


def _places(labels: Iterable[str], categories: Mapping[str, str]) -> dict[str, Node]:
    """Where each label stands, no two in the same place."""
    paths = {label: tuple(categories[label].split("/")) for label in labels}
    shared = Counter(paths.values())
    # No part of a path has a slash: this step is no other label's.
    return {label: (*path, f"/{label}") if shared[path] > 1 else path for label, path in paths.items()}


def _way(node: Node) -> list[Node]:
    """From the root down to ``node``."""
    return [node[:level] for level in range(len(node) + 1)]


def _heights(places: Iterable[Node]) -> dict[Node, int]:
    """Steps from each category, and each label, down to the deepest label below it."""
    heights: dict[Node, int] = {}
    for node in places:
        for level, above in enumerate(_way(node)):
            heights[above] = max(heights.get(above, 0), len(node) - level)
    return heights


def _meeting(one: Node, other: Node) -> Node:
    """The lowest category that holds both, or is one and holds the other."""
    return tuple(part for part, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _mean(far: Sequence[int], groups: Sequence[str], most: int) -> Estimate:
    """Mean of the distances ``far``, from 1 to ``most``, of photos with these ``groups``.

    Its interval is Wilson's of where the mean lies between 1 and ``most``. Distances vary at most as much as if there
    were those two only (Bhatia & Davis 2000, Amer. Math. Monthly 107), so that mistakes that are few, or all alike,
    are not taken for certain, as a bootstrap would. Photos of one group are worth one photo (Kish 1965).
    """
    independent = len(far) ** 2 / sum(n**2 for n in Counter(groups).values())
    share = (sum(far) / len(far) - 1) / (most - 1)
    value, low, high = (1 + (most - 1) * place for place in (share, *score_interval(share, independent)))
    return Estimate(value=value, low=low, high=high, n=len(far))


def _by_chance(truth: Sequence[Node], heights: Mapping[Node, int], classes: Sequence[Node]) -> float:
    """Mean distance of ``truth`` from all classes but itself."""
    below = Counter(above for node in classes for above in _way(node))
    known = set(classes)
    total = 0.0
    for node, photos in Counter(truth).items():
        way, itself = _way(node), int(node in known)
        inside = [*(below[above] for above in way), itself]
        met = [here - further for here, further in pairwise(inside)]
        far = sum(heights[above] * n for above, n in zip(way, met, strict=True))
        total += photos * far / (len(classes) - itself)
    return total / len(truth)
