"""What the recipe for all layers rests on: ``python -m benchmarks.whole_choices [DATASET] [RECIPE ...]``.

On Grocery's photos for development (benchmarks/development.py), or on CIFAR-10's training photos, all layers of a
trained tail are trained as the rung does it, by each of RECIPES that is asked for. Both validation photos and the
stand-ins for test photos then judge shares of the way from that tail, and at each the network's own head, one that is
fitted anew, and the mean of both.
"""

from __future__ import annotations

import sys
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
from kramar.training.rungs.tail import go_back
from kramar.training.rungs.whole import GENTLE, RECIPE

TAIL_BUDGET = "5m"


class Dataset(NamedTuple):
    """Pixels of the input, passes over the photos, and, of CIFAR-10, how many photos there are to learn from."""

    size: int
    epochs: int
    photos: int = 0


DATASETS = {
    "grocery": Dataset(224, 8),
    "cifar10": Dataset(128, 8, 10_000),
    "cifar10-all": Dataset(128, 2, 50_000 - 3 * cifar10.VAL),
}
SHARES = (1.0, 0.85, 0.7, 0.5)
RECIPES = {
    "rung": RECIPE,
    "unmixed": replace(RECIPE, mixup=0.0, cutmix=0.0),
    "gentle": GENTLE,
    "faster": replace(RECIPE, learning_rate=2 * RECIPE.learning_rate),
    "gentle-faster": replace(GENTLE, learning_rate=2 * RECIPE.learning_rate),
}


@machine.kept_memory()
def main(arguments: Sequence[str] = ()) -> None:
    """A tail by the command, then all layers by each recipe."""
    which, *recipes = arguments if arguments and arguments[0] in DATASETS else ("grocery", *arguments)
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
    print(f"   {name}, {len(photos.train):,} training photos, {dataset.epochs} passes")
    for number, recipe in enumerate(recipes or RECIPES):
        how = RECIPES[recipe]
        network = backbone_network.reopen(backbone, len(photos.classes), tail).to(memory_format=torch.channels_last)
        embedded = heads.of_photos(network, rule, how, Silent())
        before = copied(network)
        if not number:
            photos.show("the tail", heads.of(network)(embedded(photos.judges, 0)))
        squares.keep(photos.train, roomy(rule), Silent())
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
            ),
            loop.unjudged,
            replace(how, epochs=dataset.epochs),
            seed=0,
            loss=losses.of(how),
            accelerator=accelerator,
            progress=Silent(),
            body=list(backbone_network.body_of(network).stages),
        )
        end = copied(network)
        for share in SHARES:
            network.load_state_dict(end)
            go_back(network, before, share)
            own, new, seen = heads.of(network), fitted(photos, embedded, heads.VIEWS), embedded(photos.judges, 0)
            both = heads.mean_of(own, new, Part(embedded(val, 0), photos.truth[: photos.val], []))
            for what, head in (("own head", own), ("head fitted anew", new), ("mean of both", both)):
                photos.show(f"{recipe}, {share:.0%}: {what}", head(seen))


if __name__ == "__main__":
    main(sys.argv[1:])
