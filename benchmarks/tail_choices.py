"""What the tail's recipe rests on: ``python -m benchmarks.tail_choices [BACKBONE[:STAGES_EARLIER[:EPOCHS]] ...]``.

On Grocery's photos for development (benchmarks/development.py), each network is trained as the rung does it, with the
seeds 0 to 2. Then both validation photos and the stand-ins for test photos judge its last epoch, the epoch of the
lowest loss on validation alone, shares of the way back, heads that are fitted anew once it is back, and the three seeds
together, as an average of weights and as one of probabilities.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.development import development
from benchmarks.harness import scratch
from kramar import machine
from kramar.config import DEFAULT_BACKBONE, TrainConfig
from kramar.data.manifest import Entry
from kramar.decisions.calibration import probabilities
from kramar.evaluation.metrics import wilson
from kramar.jobs.gather import gather
from kramar.models import backbones, engines
from kramar.models.engines import Opened
from kramar.models.linear import Linear
from kramar.progress import Silent
from kramar.runtime.session import Scores
from kramar.training import backbone_network, heads, loop, losses
from kramar.training.answers import calibrated
from kramar.training.device import device
from kramar.training.head import Part, fit_head
from kramar.training.heads import Embedded
from kramar.training.rungs.tail import PARTWAY, RECIPE, go_back, unsure
from kramar.training.tail import DrawnBatches, Tail, labels
from kramar.training.views import Views

NETWORKS = (DEFAULT_BACKBONE, f"{DEFAULT_BACKBONE}@288", "efficientnet_lite2", f"{DEFAULT_BACKBONE}:1")
VIEWS, EPOCHS, SEEDS = 6, 8, 3
SHARES = (0.85, 0.7, 0.5)
TOGETHER = 64

Weights = dict[str, Tensor]


class Photos:
    """Those that are learnt from and those that judge, and the classes."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.classes = sorted({entry.label for entry in entries if entry.split == "train"})
        self.train, val, test = ([e for e in entries if e.split == part] for part in ("train", "val", "test"))
        self.judges, self.val = [*val, *test], len(val)
        self.truth = np.array(self.numbers(self.judges), np.int64)

    def numbers(self, entries: Sequence[Entry]) -> list[int]:
        """Class numbers."""
        return [self.classes.index(entry.label) for entry in entries]

    def show(self, what: str, said: Scores) -> None:
        """Accuracy on both parts of the judges and on all."""
        right = said.argmax(axis=1) == self.truth
        parts = {"validation": right[: self.val], "stand-ins": right[self.val :], "all": right}
        print(f"      {what:<28}", end="")
        for name, some in parts.items():
            print(f" {name} {wilson(int(some.sum()), len(some)).percent()}", end="")
        print(flush=True)


class Listener:
    """A judge that chooses nothing: what each epoch's model says, and its loss on validation."""

    def __init__(self, photos: Photos, views: Views) -> None:
        self._photos, self._views = photos, views
        self.said: list[Scores] = []
        self.losses: list[float] = []

    def __call__(self, model: nn.Module) -> None:
        """See Judge."""
        photos = self._photos
        self.said.append(map_answers(model, self._views, photos.judges, 0))
        self.losses.append(calibrated(self.said[-1][: photos.val], photos.truth[: photos.val])[0])


def map_answers(model: nn.Module, views: Views, entries: Sequence[Entry], view: int) -> Scores:
    """Logits ``[N, C]`` of a tail in evaluation mode, of a view of photos whose maps are in the cache."""
    rows, places = views.maps(entries, view)
    device = next(model.parameters()).device
    found = []
    with torch.inference_mode():
        for first in range(0, len(places), TOGETHER):
            some = torch.from_numpy(np.array(rows[places[first : first + TOGETHER]])).to(device)
            found.append(model(some.float().permute(0, 3, 1, 2)).cpu())
    return np.asarray(torch.cat(found).float().numpy())


def main(arguments: Sequence[str] = ()) -> None:
    """Every network in turn."""
    photos = Photos(gather(development(scratch("choices")), TrainConfig(), Silent()).entries)
    for name in arguments or NETWORKS:
        backbone, *numbers = name.split(":")
        print(f"   {name}, {len(photos.train):,} training photos")
        study(photos, backbone, *map(int, numbers))


@machine.kept_memory()
def study(photos: Photos, name: str, earlier: int = 0, epochs: int = EPOCHS) -> None:
    """One network, cut so many stages earlier than the rung does."""
    accelerator, backbone = device(), backbones.find(name)
    converted = engines.prepare(backbone, Silent())
    opened = Opened(backbone, converted, engines.choose(backbone, converted, Silent()))
    body = backbone_network.body_of(backbone_network.start(opened.backbone, len(photos.classes)))
    cut = body.joined - earlier
    views = Views(backbone, converted, opened.choice, cut, body.shapes[cut - 1], RECIPE.augment, RECIPE.strength)
    views.fill(photos.judges, [0], Silent())
    views.fill(photos.train, range(VIEWS), Silent())
    head = fitted(photos, views.embeddings)
    ends: list[Weights] = []
    answers: list[Scores] = []
    for seed in range(SEEDS):
        network = backbone_network.start(opened.backbone, len(photos.classes), head)
        centre = torch.from_numpy(views.embeddings(photos.train, 0).mean(axis=0))
        learner = Tail(network, cut, centre).to(memory_format=torch.channels_last)
        before = copied(network)
        batches = DrawnBatches(
            [views.maps(photos.train, view) for view in range(VIEWS)],
            labels(photos.numbers(photos.train), torch.device("cpu")),
            batch=RECIPE.batch,
            seed=seed,
            accelerator=accelerator,
        )
        loss = losses.of(RECIPE)
        unsure(learner, batches, loss, seed=seed)
        judge = Listener(photos, views)
        recipe = replace(RECIPE, epochs=epochs)
        records = loop.fit(
            learner,
            batches,
            judge,
            recipe,
            seed=seed,
            loss=loss,
            accelerator=accelerator,
            progress=Silent(),
            body=list(learner.stages),
        )
        ends.append(copied(network))
        answers.append(judge.said[-1])
        pace = epochs * len(photos.train) / sum(epoch.seconds for epoch in records)
        print(f"      seed {seed}: {pace:.0f} photos/s, judging included; {views.bytes / 1000:.0f} kB a view")
        photos.show("last epoch", answers[-1])
        photos.show("lowest validation loss", judge.said[int(np.argmin(judge.losses))])
        learner.eval()
        for share in SHARES:
            network.load_state_dict(ends[-1])
            go_back(network, before, share)
            photos.show(f"{share:.0%} of the way", map_answers(learner, views, photos.judges, 0))
        network.load_state_dict(ends[-1])
        go_back(network, before, PARTWAY)
        learner.settle()
        embedded = heads.of_maps(network, views)
        new, seen = fitted(photos, embedded, heads.VIEWS), embedded(photos.judges, 0)
        both = heads.mean_of(heads.of(network), new, Part(seen[: photos.val], photos.truth[: photos.val], []))
        photos.show("its head fitted anew", new(seen))
        photos.show("the mean of both heads", both(seen))
        learner.centre.copy_(centre)
    network.load_state_dict({key: torch.stack([end[key] for end in ends]).mean(dim=0) for key in ends[0]})
    photos.show("average of weights", map_answers(learner, views, photos.judges, 0))
    together = np.mean([probabilities(said, 1.0) for said in answers], axis=0)
    photos.show("average of probabilities", together.astype(np.float32))


def fitted(photos: Photos, embedded: Embedded, views: int = 1) -> Linear:
    """A head as the rungs fit it, on so many views of each training photo."""

    def part(entries: Sequence[Entry], views: int) -> Part:
        return Part(
            np.concatenate([embedded(entries, view) for view in range(views)]),
            np.tile(np.array(photos.numbers(entries), np.int64), views),
            [entry.group for entry in entries] * views,
        )

    val = part(photos.judges[: photos.val], 1)
    head, how = fit_head(part(photos.train, views), val, len(photos.classes), 0, Silent())
    return Linear(head.weights / how.temperature, head.bias / how.temperature)


def copied(network: nn.Module) -> Weights:
    """Its weights as they are now."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


if __name__ == "__main__":
    main(sys.argv[1:])
