"""What the recipe for all layers rests on: ``python -m benchmarks.whole_choices [EPOCHS]``.

On Grocery's photos for development (benchmarks/development.py), all layers of a trained tail are trained as the rung
does it, with the seeds 0 and 1. Both validation photos and the stand-ins for test photos then judge shares of the way
from that tail, and at each the network's own head, one that is fitted anew, and the mean of both.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import torch

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
from kramar.training.rungs.whole import RECIPE

NAME, TAIL_BUDGET = f"{DEFAULT_BACKBONE}@224", "5m"
SEEDS, EPOCHS = 2, 8
SHARES = (1.0, 0.85, 0.7, 0.5)


@machine.kept_memory()
def main(arguments: Sequence[str] = ()) -> None:
    """A tail by the command, then all layers twice."""
    epochs = int(arguments[0]) if arguments else EPOCHS
    folder = scratch("whole-choices")
    table, tail = development(folder), folder / "run" / "models" / "tail.onnx"
    options = ("--backbone", NAME, "--rungs", "head,tail", "--budget", TAIL_BUDGET)
    run("train", str(table), *options, "--out", str(folder / "run"), cache=folder / "cache")
    photos = Photos(gather(table, TrainConfig(), Silent()).entries)
    backbone, accelerator = backbones.find(NAME), device()
    rule, val = backbone.resize, photos.judges[: photos.val]
    print(f"   {NAME}, {len(photos.train):,} training photos, {epochs} passes")
    for seed in range(SEEDS):
        network = backbone_network.reopen(backbone, len(photos.classes), tail).to(memory_format=torch.channels_last)
        embedded = heads.of_photos(network, rule, RECIPE, Silent())
        before = copied(network)
        if not seed:
            photos.show("the tail", heads.of(network)(embedded(photos.judges, 0)))
        squares.keep(photos.train, roomy(rule), Silent())
        loop.fit(
            network,
            PhotoBatches(
                squares.squares(photos.train, roomy(rule)),
                photos.numbers(photos.train),
                POLICIES[RECIPE.augment](rule, RECIPE.strength),
                size=rule.size,
                batch=RECIPE.batch,
                seed=seed,
                accelerator=accelerator,
            ),
            loop.unjudged,
            replace(RECIPE, epochs=epochs),
            seed=seed,
            loss=losses.of(RECIPE),
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
                photos.show(f"seed {seed}, {share:.0%}: {what}", head(seen))


if __name__ == "__main__":
    main(sys.argv[1:])
