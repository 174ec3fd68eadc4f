"""Where a model is right and wrong: by class, by pair of classes, photo by photo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from kramar.evaluation.metrics import Scored, wilson
from kramar.records import ClassScore, Confusion, Mistake


def by_class(
    scored: Scored | None, photos: Mapping[str, Mapping[str, int]], categories: Mapping[str, str]
) -> list[ClassScore]:
    """Each class of ``photos`` (label to photos by part): recall and precision with Wilson's interval, and F1."""
    truth = Counter(scored.labels) if scored else Counter()
    names = np.asarray(scored.classes, dtype=object)[scored.predicted] if scored else np.array([], dtype=object)
    called = Counter(names.tolist())
    hits = Counter(names[scored.right].tolist()) if scored else Counter()
    scores = []
    for label, parts in photos.items():
        n, m, hit = truth[label], called[label], hits[label]
        scores.append(
            ClassScore(
                label=label,
                category=categories.get(label, label),
                photos=dict(parts),
                recall=wilson(hit, n) if n else None,
                precision=wilson(hit, m) if m else None,
                f1=2 * hit / (n + m) if n else None,
            )
        )
    return scores


def confusions(scored: Scored, most: int = 1000) -> list[Confusion]:
    """The wrong pairs, most frequent first."""
    wrong = np.flatnonzero(~scored.right).tolist()
    pairs = Counter((scored.labels[i], scored.classes[scored.predicted[i]]) for i in wrong)
    of = Counter(scored.labels)
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:most]
    return [
        Confusion(truth=truth, predicted=predicted, count=count, of=of[truth]) for (truth, predicted), count in ordered
    ]


def mistakes(scored: Scored, images: Sequence[str], most: int = 24) -> list[Mistake]:
    """The wrong answers that the model was surest of, surest first."""
    wrong = np.flatnonzero(~scored.right)
    surest = wrong[np.argsort(-scored.confidence[wrong], kind="stable")][:most].tolist()
    return [
        Mistake(
            image=images[i],
            truth=scored.labels[i],
            predicted=scored.classes[scored.predicted[i]],
            probability=float(scored.confidence[i]),
        )
        for i in surest
    ]
