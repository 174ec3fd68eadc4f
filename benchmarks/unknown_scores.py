"""Which score tells unknown photos: ``python -m benchmarks.unknown_scores [kramar's options]``.

Two models are trained as ``benchmarks.unknowns`` trains its first two, without 15 of Grocery's classes; no test photo
is read. Known photos are validation photos, unknown ones are training photos of the classes that were left out, and
CIFAR-10's photos against shrunk validation photos. Each score of embeddings is told alone; added to doubt, 1 - p, a
quarter of its standard deviations; and added twice where it is beyond what 98% of known photos have. The same alone of
a frozen network's embeddings, with a linear layer on them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.harness import embeddings, run, scratch
from benchmarks.unknowns import BUDGET, LEFT_OUT, Rows, area, cifar, rows_of, shrunk, table
from kramar.data.listing import PhotoFile, Row
from kramar.decisions.calibration import probabilities
from kramar.progress import Silent
from kramar.runtime.model import Model
from kramar.training.head import Part, fit_head

DRAWS = 2
RANKS = (32, 64, 128, 256)
KNOWN, ADDED, BEYOND = 0.98, 0.25, 2.0

Floats = npt.NDArray[np.floating]
Score = Callable[[Floats], Floats]
# Embeddings, probabilities and logits of photos.
Seen = tuple[Floats, Floats, Floats]


def scores(learnt: Floats, truth: npt.NDArray[np.integer]) -> dict[str, Score]:
    """Scores of embeddings ``[N, D]`` by what embeddings of training photos of classes ``truth`` say."""
    centre = learnt.mean(axis=0)
    means = np.stack([learnt[truth == one].mean(axis=0) for one in np.unique(truth)])
    within = learnt - means[np.searchsorted(np.unique(truth), truth)]
    variance = within.var(axis=0)
    scale = 1 / np.sqrt(variance + 0.05 * variance.mean())
    x, m, within = (learnt - centre) * scale, (means - centre) * scale, within * scale
    inside, total = within.T @ within / len(within), x.T @ x / len(x)
    found: dict[str, Score] = {}
    for shrinkage in (0.03, 1.0):
        found[f"Mahalanobis, shrunk {shrinkage:g}"] = mahalanobis(centre, scale, m, inside, shrinkage)
        common = mahalanobis(centre, scale, np.zeros_like(m[:1]), total, shrinkage)
        found[f"relative Mahalanobis, shrunk {shrinkage:g}"] = less(found[f"Mahalanobis, shrunk {shrinkage:g}"], common)
    basis = np.linalg.eigh(total)[1]
    for rank in RANKS:
        found[f"residual of {rank}"] = residual(centre, scale, basis[:, -rank:], shared=False)
        found[f"share outside {rank}"] = residual(centre, scale, basis[:, -rank:], shared=True)
    found["nearest photo by cosine"] = cosine(centre, scale, x)
    found["nearest class mean by cosine"] = cosine(centre, scale, m)
    return found


def mahalanobis(centre: Floats, scale: Floats, means: Floats, covariance: Floats, shrinkage: float) -> Score:
    """The distance to the nearest of ``means``."""
    width = len(covariance)
    inverse = np.linalg.inv(covariance + shrinkage * np.trace(covariance) / width * np.eye(width))
    turn = np.linalg.cholesky(inverse)
    turned = means @ turn

    def score(embedded: Floats) -> Floats:
        z = ((embedded - centre) * scale) @ turn
        return np.asarray(((z**2).sum(axis=1)[:, None] - 2 * z @ turned.T + (turned**2).sum(axis=1)).min(axis=1))

    return score


def less(one: Score, other: Score) -> Score:
    """The first less the other."""
    return lambda embedded: one(embedded) - other(embedded)


def residual(centre: Floats, scale: Floats, basis: Floats, *, shared: bool) -> Score:
    """The squared length outside ``basis``, or its share of all."""

    def score(embedded: Floats) -> Floats:
        x = (embedded - centre) * scale
        whole = (x**2).sum(axis=1)
        outside = whole - ((x @ basis) ** 2).sum(axis=1)
        return np.asarray(outside / whole if shared else outside)

    return score


def cosine(centre: Floats, scale: Floats, others: Floats) -> Score:
    """How far the direction of the nearest of ``others`` is."""
    unit = others / np.linalg.norm(others, axis=1, keepdims=True)

    def score(embedded: Floats) -> Floats:
        x = (embedded - centre) * scale
        return np.asarray(1 - (x / np.linalg.norm(x, axis=1, keepdims=True) @ unit.T).max(axis=1))

    return score


def doubts(said: Floats, logits: Floats) -> dict[str, Floats]:
    """Scores of probabilities and logits ``[N, C]``."""
    best = np.sort(said, axis=1)[:, ::-1]
    return {
        "1 - p": 1 - best[:, 0],
        "maximal logit": -logits.max(axis=1),
        "energy": -np.log(np.exp(logits.astype(np.float64)).sum(axis=1)),
        "margin": best[:, 1] - best[:, 0],
        "entropy": -(said * np.log(said + 1e-12)).sum(axis=1),
        "generalised entropy": np.sqrt(best[:, :20] * (1 - best[:, :20])).sum(axis=1),
    }


def left_out(number: int, rows: Rows) -> set[str]:
    """The classes that ``benchmarks.unknowns`` leaves out in a draw."""
    labels = sorted({row["label"] for row in rows})
    return set(np.random.default_rng(number).choice(labels, LEFT_OUT, replace=False).tolist())


def seen(model: Model, photos: Sequence[str | Image.Image]) -> Seen:
    """What a model file says of photos."""
    names = ["embedding", "probabilities", "logits"]
    found = list(model.stream_of(photos, lambda images: zip(*model.outputs(images, names), strict=True)))
    good = [said for _, said in found if isinstance(said, tuple)]
    one, two, three = (np.stack(each) for each in zip(*good, strict=True))
    return one, two, three


def compare(model: Model, rows: Rows, left: set[str]) -> dict[str, list[float]]:
    """By score: areas for classes that were left out and for CIFAR-10, of each way to use it."""
    known = [row["image"] for row in rows if row["split"] == "val" and row["label"] not in left]
    train = [row for row in rows if row["split"] == "train" and row["label"] not in left]
    learnt = seen(model, [row["image"] for row in train])[0].astype(np.float64)
    near = seen(model, known), seen(model, [row["image"] for row in rows if row["label"] in left])
    far = seen(model, [shrunk(image) for image in known]), seen(model, cifar())
    found: dict[str, list[float]] = {}
    for name in doubts(*near[0][1:]):
        found[name] = [area(*(doubts(*one[1:])[name] for one in pair)) for pair in (near, far)]
    for name, score in scores(learnt, np.array([model.classes.index(row["label"]) for row in train])).items():
        usual = score(near[0][0])
        deviation, rare = usual.std(), np.quantile(usual, KNOWN)
        ways: tuple[Callable[[Seen], Floats], ...] = (
            lambda one: score(one[0]),  # noqa: B023 - used up before the next score
            lambda one: doubt(one) + ADDED * score(one[0]) / deviation,  # noqa: B023
            lambda one: doubt(one) + BEYOND * np.maximum(score(one[0]) - rare, 0) / deviation,  # noqa: B023
        )
        found[name] = [area(*map(way, pair)) for way in ways for pair in (near, far)]
    return found


def doubt(one: Seen) -> Floats:
    """1 - p."""
    return np.asarray(1 - one[1].max(axis=1))


def frozen(rows: Rows, left: set[str]) -> dict[str, list[float]]:
    """By score: the area for classes that were left out, of a linear layer on a frozen network."""
    entries, found = embeddings(
        [Row(row["image"], PhotoFile(Path(row["image"])), row["label"], row["category"]) for row in rows]
    )
    place = {entry.image: number for number, entry in enumerate(entries)}
    labels = sorted({row["label"] for row in rows} - left)

    def part(some: Rows) -> Part:
        truth = np.array([labels.index(row["label"]) if row["label"] in labels else -1 for row in some], np.int64)
        return Part(found[[place[row["image"]] for row in some]], truth, [row["image"] for row in some])

    known = [row for row in rows if row["label"] not in left]
    train, val = (part([row for row in known if row["split"] == split]) for split in ("train", "val"))
    unknown = part([row for row in rows if row["label"] in left])
    head, how = fit_head(train, val, len(labels), 0, Silent())
    said = [(probabilities(one, how.temperature), one) for one in (head(val.embeddings), head(unknown.embeddings))]
    areas = {name: [area(*(doubts(*one)[name] for one in said))] for name in doubts(*said[0])}
    for name, score in scores(train.embeddings.astype(np.float64), train.truth).items():
        areas[name] = [area(score(val.embeddings), score(unknown.embeddings))]
    return areas


def tell(title: str, draws: Sequence[dict[str, list[float]]]) -> None:
    """Means of the draws."""
    print(f"   {title}")
    for name in draws[0]:
        print(f"      {name}: {', '.join(f'{one:.3f}' for one in np.mean([draw[name] for draw in draws], axis=0))}")


def main(arguments: Sequence[str] = ()) -> None:
    """Train two models, and compare."""
    options = list(arguments)
    if "--budget" not in options:
        options += ["--budget", BUDGET]
    rows = [row for row in rows_of(development=False) if row["split"] != "test"]
    folder, told, cold = scratch("unknown-scores"), [], []
    for number in range(DRAWS):
        left = left_out(number, rows_of(development=False))
        place = folder / f"run{number}"
        data = table([row for row in rows if row["label"] not in left], folder / f"{number}.csv")
        run("train", str(data), "--skip-audit", *options, "--out", str(place), cache=folder / "cache")
        told.append(compare(Model(place / "model.onnx"), rows, left))
        cold.append(frozen(rows, left))
    tell("left out, CIFAR-10: alone; added to doubt; added where it is rare", told)
    tell("frozen: left out", cold)


if __name__ == "__main__":
    main(sys.argv[1:])
