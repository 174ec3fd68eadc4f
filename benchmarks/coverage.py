"""How often each 95% interval holds the truth: scores of photos drawn from populations whose figures are known.

Needs no data. A line a population: percent of draws whose interval holds the truth, and the median width.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kramar.evaluation.metrics import BINS, PHOTOS_A_BIN, SMALLEST, Scored, score
from kramar.records import Metrics

FIGURES = tuple(Metrics.model_fields)
PHOTOS = 40_000

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.integer]


@dataclass(frozen=True)
class World:
    """A population of photos and a model's answers on them.

    Attributes:
        classes: how many.
        accuracy: the model's.
        tail: 0 for classes of one size, 1 for sizes that fall as 1 / rank.
        size: mean photos a group (of one class); 1: every photo by itself.
        sharpness: 1 for a calibrated model, 3 for an overconfident one whose logits are three times too large.
    """

    classes: int
    accuracy: float
    tail: float = 1.0
    size: int = 1
    sharpness: float = 1.0


@dataclass(frozen=True)
class Population:
    """The photos of a world: probabilities ``[N, C]``, classes and groups ``[N]`` (in order of groups)."""

    probabilities: Floats
    truth: Indices
    group: Indices

    def draw(self, photos: int, random: np.random.Generator) -> tuple[Indices, Scored]:
        """Rows of about so many photos, whole groups at a time and each draw a group of its own; their answers."""
        starts = np.searchsorted(self.group, np.arange(self.group[-1] + 2))
        mean = len(self.group) / (len(starts) - 1)
        drawn = random.integers(0, len(starts) - 1, max(1, round(photos / mean)))
        rows = np.concatenate([np.arange(starts[one], starts[one + 1]) for one in drawn])
        groups = np.repeat(np.arange(len(drawn)), starts[drawn + 1] - starts[drawn])
        names = [str(i) for i in range(self.probabilities.shape[1])]
        labels = [names[i] for i in self.truth[rows]]
        return rows, Scored.of(self.probabilities[rows], labels, names, [str(g) for g in groups])

    def figures(self, bins: int) -> dict[str, npt.NDArray[np.float64]]:
        """The true figures: recall and F1 by class, ``[C]``; the others ``[1]``."""
        n, classes = self.probabilities.shape
        predicted, confidence = self.probabilities.argmax(axis=1), self.probabilities.max(axis=1)
        right = predicted == self.truth
        photos, called, hits = (
            np.bincount(which, minlength=classes) for which in (self.truth, predicted, self.truth[right])
        )
        likelihood = self.probabilities[np.arange(n), self.truth].astype(np.float64)
        better = (self.probabilities > likelihood[:, None].astype(self.probabilities.dtype)).sum(axis=1)
        gap = right - confidence.astype(np.float64)
        edges = np.array_split(np.argsort(confidence, kind="stable"), bins)
        return {
            "accuracy": right.mean(keepdims=True),
            "top5": (better < 5).mean(keepdims=True),
            "balanced_accuracy": hits / np.maximum(photos, 1),
            "macro_f1": 2 * hits / np.maximum(photos + called, 1),
            "log_loss": -np.log(np.maximum(likelihood, SMALLEST)).mean(keepdims=True),
            "calibration_error": np.array([sum(abs(gap[one].sum()) for one in edges) / n]),
        }


def population(world: World, random: np.random.Generator) -> Population:
    """Photos whose logits are noisy, some classes harder than others and each with one that it is confused with."""
    shares = np.arange(1.0, world.classes + 1) ** -world.tail
    sizes = 1 + random.poisson(world.size - 1, PHOTOS // world.size)
    group = np.repeat(np.arange(len(sizes)), sizes)
    truth = random.choice(world.classes, len(sizes), p=shares / shares.sum())[group]
    rows = np.arange(len(group))
    # Photos of one group share 60% of their noise.
    shared = 0.6 if world.size > 1 else 0.0
    noise = np.sqrt(1 - shared) * random.normal(size=(len(rows), world.classes))
    noise += np.sqrt(shared) * random.normal(size=(len(sizes), world.classes))[group]
    ease = np.exp(random.normal(size=world.classes) / 4)[truth]

    def logits(signal: float) -> Floats:
        drawn: npt.NDArray[np.float64] = noise.copy()
        drawn[rows, truth] += signal * ease
        drawn[rows, (truth + 1) % world.classes] += 0.3 * signal
        return drawn

    low, high = 0.0, 20.0
    for _ in range(25):
        middle = (low + high) / 2
        accurate = bool((logits(middle).argmax(axis=1) == truth).mean() >= world.accuracy)
        low, high = (low, middle) if accurate else (middle, high)
    drawn = logits(high)
    part = rows[:8_000]
    scale = min(np.geomspace(0.4, 12, 40), key=lambda s: -_log_softmax(s * drawn[part])[part, truth[part]].mean())
    return Population(np.exp(_log_softmax(world.sharpness * scale * drawn)).astype(np.float32), truth, group)


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def coverage(
    people: Population, photos: int, draws: int, random: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Of each figure, the share of ``draws`` whose interval holds the truth, and the intervals' median width."""
    truth = people.figures(max(1, min(BINS, photos // PHOTOS_A_BIN)))
    held, widths = dict.fromkeys(FIGURES, 0), defaultdict[str, list[float]](list)
    for seed in range(draws):
        rows, scored = people.draw(photos, random)
        found = score(scored, seed)
        present = np.unique(people.truth[rows])
        for name in FIGURES:
            figure = truth[name] if len(truth[name]) == 1 else truth[name][present]
            interval = getattr(found, name)
            held[name] += interval.low <= figure.mean() <= interval.high
            widths[name].append(interval.high - interval.low)
    return {name: (held[name] / draws, float(np.median(widths[name]))) for name in FIGURES}


WORLDS = (
    (World(5, 0.70), (20, 100, 600)),
    (World(5, 0.95), (20, 100, 600)),
    (World(5, 0.99, sharpness=3), (20, 100, 600)),
    (World(20, 0.60, tail=0), (60, 300)),
    (World(20, 0.90), (60, 300)),
    (World(80, 0.75), (100, 600, 2500)),
    (World(80, 0.75, sharpness=3), (600,)),
    (World(80, 0.95), (100, 600, 2500)),
    (World(80, 0.99, tail=0), (100, 600)),
    (World(5, 0.90, size=4), (20, 100, 600)),
    (World(20, 0.75, size=4), (60, 300)),
    (World(80, 0.95, size=4), (200, 2500)),
)
DRAWS = 400


def main() -> None:
    """Print the table of docs/benchmarks.md."""
    print("| classes | accuracy | sizes | a group | model | photos | " + " | ".join(FIGURES) + " |")
    print("|---" * (6 + len(FIGURES)) + "|")
    for world, sizes in WORLDS:
        people = population(world, np.random.default_rng(0))
        for photos in sizes:
            found = coverage(people, photos, DRAWS, np.random.default_rng(1))
            cells = [f"{share:.0%} (±{width / 2:.3f})" for share, width in found.values()]
            kind = "calibrated" if world.sharpness == 1 else "overconfident"
            tail = "equal" if world.tail == 0 else "1/rank"
            first = f"{world.classes} | {world.accuracy:.0%} | {tail} | {world.size} | {kind} | {photos:,}"
            print(f"| {first} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
