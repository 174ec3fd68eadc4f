"""What the tail rung costs beside whole fine-tuning, and how fast views are cached, on Grocery's photos."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import torch

from benchmarks.harness import TABLE, bar
from kramar import machine
from kramar.config import DEFAULT_BACKBONE, TrainConfig
from kramar.jobs.gather import gather
from kramar.models import backbones, engines
from kramar.models.engines import Opened
from kramar.progress import Silent
from kramar.training import backbone_network, losses
from kramar.training.device import device
from kramar.training.rungs import tail
from kramar.training.tail import Tail, speed
from kramar.training.views import Views

TURNS = 3
PHOTOS = 960
# Of a policy strength that nobody uses, so that the views are not in the cache.
STRENGTH = 0.79


@machine.kept_memory()
def main() -> None:
    """Steps of both in turns, of the same network, size and batch; then the cache's rate beside the bare model's."""
    device()
    backbone = backbones.find(DEFAULT_BACKBONE)
    converted = engines.prepare(backbone, Silent())
    choice = engines.choose(backbone, converted, Silent())
    opened = Opened(backbone, converted, choice)
    entries = gather(TABLE, TrainConfig(), Silent()).entries
    classes = len({entry.label for entry in entries})
    size, batch = backbone.resize.size, tail.RECIPE.batch
    target = torch.arange(batch) % classes
    loss = losses.of(tail.RECIPE)
    tails, wholes = [], []
    for _ in range(TURNS):
        network = backbone_network.start(opened.backbone, classes)
        network.to(memory_format=torch.channels_last)
        body = backbone_network.body_of(network)
        maps = torch.rand(batch, *body.shapes[body.joined - 1]).contiguous(memory_format=torch.channels_last)
        tails.append(speed(Tail(network, body.joined), maps, target, loss, seconds=8))
        images = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8)
        wholes.append(speed(network, images, target, loss, seconds=8))
    ratio = median(one / other for one, other in zip(tails, wholes, strict=True))
    bar(
        f"a pass of the tail, {median(tails):.0f} photos/s, and of all layers, {median(wholes):.0f}",
        f"{ratio:.2f} times as fast",
        "at least 3",
        ratio >= 3,
    )
    body = backbone_network.body_of(backbone_network.start(opened.backbone, classes))
    train = [entry for entry in entries if entry.split == "train"][:PHOTOS]
    views = Views(backbone, converted, choice, body.joined, body.shapes[body.joined - 1], "zoom", STRENGTH)
    shares = []
    for view in range(1, TURNS + 1):
        bare = engines.bare_rate(engines.ENGINES[choice.engine](converted.path, backbone), size, 4.0)
        if view == 1:
            # Decoding is the features' work, and done by then.
            views.fill(train[:8], [0, view], Silent())
            replace(views, strength=STRENGTH - 0.01).fill(train, [1], Silent())
        rate = views.fill(train, [view], Silent())
        if rate:
            shares.append((rate, bare, rate / bare))
    rate, bare, share = sorted(shares, key=lambda one: one[2])[len(shares) // 2]
    bar(
        f"caching views, {rate:.0f} photos/s of the bare model's {bare:.0f}",
        f"{share:.0%}",
        "at least 80%",
        share >= 0.8,
    )


if __name__ == "__main__":
    main()
