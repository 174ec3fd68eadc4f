"""What the recipe for all layers rests on: ``python -m benchmarks.whole_choices [DATASET] [WAY ...]``.

On Grocery's photos for development (benchmarks/development.py), or on CIFAR-10's training photos, all layers of a
trained tail are trained as the rung does it, in each of WAYS that is asked for. Both validation photos and the
stand-ins for test photos then judge shares of the way from that tail, and at each the network's own head, one that is
fitted anew, and the mean of both.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from benchmarks import cifar10
from benchmarks.development import development
from benchmarks.harness import run, scratch
from benchmarks.tail_choices import Photos, copied, fitted
from kramar import machine
from kramar.config import DEFAULT_BACKBONE, TrainConfig
from kramar.jobs.gather import gather
from kramar.models import backbones, squares
from kramar.models.squares import roomy
from kramar.progress import Silent
from kramar.training import backbone_network, heads, loop, losses
from kramar.training.augment import POLICIES
from kramar.training.device import device
from kramar.training.head import Part
from kramar.training.photos import PhotoBatches
from kramar.training.recipe import Recipe
from kramar.training.rungs.tail import go_back
from kramar.training.rungs.whole import GENTLE, RECIPE, hold_still

TAIL_BUDGET = "5m"


class Dataset(NamedTuple):
    """Pixels of the input, passes over the photos, and, of CIFAR-10, how many photos there are to learn from."""

    size: int
    passes: int
    photos: int = 0


DATASETS = {
    "grocery": Dataset(224, 8),
    "grocery-longer": Dataset(224, 16),
    "cifar10": Dataset(128, 8, 10_000),
    "cifar10-all": Dataset(128, 2, 50_000 - 3 * cifar10.VAL),
}
SHARES = (1.0, 0.85, 0.7, 0.5)


class Way(NamedTuple):
    """A recipe; whether the first stages stay as they are; how often photos are seen, against all layers that learn."""

    recipe: Recipe
    still: bool = False
    passes: float = 1.0


WAYS = {
    "rung": Way(RECIPE),
    "unmixed": Way(replace(RECIPE, mixup=0.0, cutmix=0.0)),
    "gentle": Way(GENTLE),
    "faster": Way(replace(RECIPE, learning_rate=2 * RECIPE.learning_rate)),
    "gentle-faster": Way(replace(GENTLE, learning_rate=2 * GENTLE.learning_rate)),
    # As long as the others take: steps are so much faster without the first stages.
    "still": Way(GENTLE, still=True, passes=1.4),
    "still-mixed": Way(RECIPE, still=True, passes=1.4),
    "still-slower": Way(replace(GENTLE, learning_rate=GENTLE.learning_rate / 2), still=True, passes=1.4),
}
# Of a pass, so that ways may differ by parts of one.
EPOCHS = 10


@machine.kept_memory()
def main(arguments: Sequence[str] = ()) -> None:
    """A tail by the command, then all layers in each way."""
    which, *ways = arguments if arguments and arguments[0] in DATASETS else ("grocery", *arguments)
    dataset, folder = DATASETS[which], scratch("whole-choices")
    name = f"{DEFAULT_BACKBONE}@{dataset.size}"
    parts = (dataset.photos, cifar10.VAL, 2 * cifar10.VAL)
    table = cifar10.table(folder, *parts) if dataset.photos else development(folder)
    tail = folder / "run" / "models" / "tail.onnx"
    options = ("--backbone", name, "--rungs", "head,tail", "--budget", TAIL_BUDGET)
    run("train", str(table), *options, "--out", str(folder / "run"), cache=folder / "cache")
    photos = Photos(gather(table, TrainConfig(), Silent()).entries)
    backbone, accelerator = backbones.find(name), device()
    rule, val = backbone.resize, photos.judges[: photos.val]
    print(f"   {name}, {len(photos.train):,} training photos, {dataset.passes} passes")
    for number, called in enumerate(ways or WAYS):
        way = WAYS[called]
        how = way.recipe
        network = backbone_network.reopen(backbone, len(photos.classes), tail).to(memory_format=torch.channels_last)
        embedded = heads.of_photos(network, rule, how, Silent())
        before = copied(network)
        if not number:
            photos.show("the tail", heads.of(network)(embedded(photos.judges, 0)))
        body = backbone_network.body_of(network)
        if way.still:
            hold_still(body)
        squares.keep(photos.train, roomy(rule), Silent())
        began = time.monotonic()
        loop.fit(
            network,
            PhotoBatches(
                squares.squares(photos.train, roomy(rule)),
                photos.numbers(photos.train),
                POLICIES[how.augment](rule, how.strength),
                size=rule.size,
                batch=how.batch,
                seed=0,
                accelerator=accelerator,
                most=len(photos.train) // EPOCHS,
            ),
            loop.unjudged,
            replace(how, epochs=round(EPOCHS * way.passes * dataset.passes)),
            seed=0,
            loss=losses.of(how),
            accelerator=accelerator,
            progress=Silent(),
            body=list(body.stages),
        )
        print(f"   {called}: {time.monotonic() - began:.0f} s")
        end = copied(network)
        for share in SHARES:
            network.load_state_dict(end)
            go_back(network, before, share)
            own, new, seen = heads.of(network), fitted(photos, embedded, heads.VIEWS), embedded(photos.judges, 0)
            both = heads.mean_of(own, new, Part(embedded(val, 0), photos.truth[: photos.val], []))
            for what, head in (("own head", own), ("head fitted anew", new), ("mean of both", both)):
                photos.show(f"{called}, {share:.0%}: {what}", head(seen))


if __name__ == "__main__":
    main(sys.argv[1:])
