"""Rung 3: the last stages of the backbone and the head, trained on cached maps of views of the photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from accelerate import Accelerator
from torch import Tensor

from kramar.data.manifest import Entry
from kramar.exporting import onnx_file
from kramar.models import maps
from kramar.models.engines import Opened
from kramar.models.linear import Linear
from kramar.models.networks import Network
from kramar.models.squares import roomy
from kramar.models.staged import Staged
from kramar.training import backbone_network, heads, loop, losses
from kramar.training.budget import some
from kramar.training.climb import Climbed, Ground, Learnt, Limits, Step
from kramar.training.ladder import best
from kramar.training.recipe import Recipe
from kramar.training.seeds import derived
from kramar.training.tail import DrawnBatches, Tail, labels, speed
from kramar.training.views import Views

# Photos are cut out and mirrored only: colour, which TrivialAugment changes, is what tells many goods apart.
RECIPE = Recipe(
    batch=32,
    learning_rate=0.1,
    body_rate=1.0,
    relative=True,
    augment="zoom",
    strength=0.8,
    mixup=0.4,
    ema=0.99,
    warmup=0.2,
)
# Passes over the photos: more gain nothing more, fewer are not worth it.
MOST_PASSES, FEWEST_PASSES = 24.0, 2.0
# A view is shown this often before another is worth its caching.
SHOWN = 1.25
MOST_VIEWS = 12
# The share of the bare model's rate at which views are cached: photos are drawn beside it.
CACHING = 0.82
# An epoch is at most so many training photos.
EPOCH_PHOTOS = 20_000
_FEWEST_A_CLASS = 4
# Scales of the head to start from, and batches to try them on.
SCALES, UNSURE_BATCHES = (1.4, 1.0, 0.7, 0.5, 0.35, 0.25), 8
# How far from the network before its training to the one after it: a little on the way between them lie networks that
# do better on photos from elsewhere (Wortsman et al. 2021, WiSE-FT; benchmarks/tail_choices.py). Few validation photos
# choose it no better, nor the epoch: the last is of a moving average, and of a rate that has come to nothing.
PARTWAY = 0.85
# Opening the network, writing and verifying the file.
_FIXED_SECONDS = 8.0


class TailRung:
    """The tail of one backbone: views cached, passes over them, a file."""

    rung = "tail"

    def __init__(
        self, ground: Ground, accelerator: Accelerator, opener: Callable[[], Opened], backbone: str = ""
    ) -> None:
        """``opener`` opens the backbone, which takes a minute where it has to be converted first; ``backbone`` is the
        name of one other than that which the head was fitted on, or nothing."""
        self._ground, self._accelerator, self._opener = ground, accelerator, opener
        self.key = f"{self.rung}-{backbone}" if backbone else self.rung

    @cached_property
    def _opened(self) -> Opened:
        return self._opener()

    def plan(self, seconds: float, climbed: Mapping[str, Climbed]) -> Step:
        """Views and passes that ``seconds`` have time for."""
        del climbed
        ground = self._ground
        bare, rule = CACHING * self._opened.choice.rates[self._opened.choice.engine], self._opened.backbone.resize
        body, rate = self._speed()
        views = self._views(body)
        counts = {part: len(entries) for part, entries in ground.material.parts.items()}
        fixed = _FIXED_SECONDS + (2 * counts["val"] + counts["test"]) / bare
        fixed += ground.decoding(ground.material.parts["val"], rule)
        rows = int(ground.cache_size / views.bytes) - min(heads.HEAD_VAL, counts["val"])
        spare = seconds - fixed

        def refit(photos: int, views: int) -> float:
            looking = heads.LOOKING * rate
            return heads.refit_seconds(photos, looking, body.width, ground.classes, min(views, heads.VIEWS))

        beside = ground.decoding(ground.material.parts["train"], rule) + refit(counts["train"], 1)
        least_each = beside / max(1, counts["train"]) + 1 / bare + FEWEST_PASSES / rate
        photos = max(0, min(counts["train"], rows, int(spare / least_each)))
        fewest = min(counts["train"], _FEWEST_A_CLASS * ground.classes)
        if photos < fewest:
            if rows < fewest:
                size = counts["train"] * views.bytes
                return Step(do=False, why=f"no room: one view of all photos takes {size / 1e6:.0f}MB of --cache-size")
            least = fixed + fewest * least_each
            return Step(
                do=False, why=f"no time: it takes at least {least:.0f} s, {max(0.0, seconds):.0f} s are left for it"
            )
        # Of each class at least one is taken, so that they may be more.
        while len(train := some(ground.material.parts["train"], photos)) > rows:
            photos -= len(train) - rows
        an_epoch = min(photos, EPOCH_PHOTOS)
        cost = an_epoch / rate
        most = MOST_PASSES * photos / an_epoch

        def shared(free: int, missing: Callable[[int], Sequence[Entry]]) -> tuple[float, int, int]:
            """Time goes to passes, and to as many views as they are worth and ``free`` rows have room for."""
            looking, decoding, taken, count, epochs = 0.0, 0.0, 0, 0, 0
            for view in range(MOST_VIEWS):
                absent = missing(view)
                taken += len(absent)
                decoding += ground.decoding(absent, roomy(rule) if view else rule, again=view > 1)
                more = decoding + taken / bare
                affordable = int(min(most, (spare - more - refit(photos, view + 1)) / cost))
                is_worth = affordable * an_epoch >= SHOWN * (view + 1) * photos or more <= looking
                if taken > free or (count and not is_worth):
                    break
                looking, count, epochs = more, view + 1, max(1, affordable)
            return looking, count, epochs

        val = some(ground.material.known("val"), heads.HEAD_VAL)
        left = int((ground.cache_size - maps.size(maps.folder() / views.name)) / views.bytes)
        found = shared(left - len(views.missing(val, 0)), lambda view: views.missing(train, view))
        anew = shared(rows, lambda _: train)
        # Maps of other photos go where they leave too little room.
        if 2 * found[1] < anew[1] and maps.drop(views.name):
            found = anew
        looking, count, epochs = found
        if not count:
            return Step(do=False, why="no room: another run uses the maps that fill --cache-size")
        return Step(
            do=True,
            expected=fixed + looking + refit(photos, views=count) + epochs * cost,
            numbers={"cut": views.cut, "views": count, "epochs": epochs, "photos": photos},
        )

    def _views(self, body: Staged, cut: int | None = None) -> Views:
        """As this backbone sees photos before stage ``cut``; unless that is given, before its last ones."""
        opened, cut = self._opened, cut or body.joined
        shape = body.shapes[cut - 1]
        return Views(opened.backbone, opened.converted, opened.choice, cut, shape, RECIPE.augment, RECIPE.strength)

    def _speed(self) -> tuple[Staged, float]:
        """The body, and photos a second of steps beyond its cut."""
        network = backbone_network.start(self._opened.backbone, self._ground.classes)
        body = backbone_network.body_of(network)
        device = self._accelerator.device
        learner = Tail(network, body.joined).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs = torch.zeros(RECIPE.batch, *body.shapes[body.joined - 1], device=device)
        target = torch.arange(RECIPE.batch, device=device) % self._ground.classes
        channels_last = inputs.contiguous(memory_format=torch.channels_last)
        return body, speed(learner, channels_last, target, losses.of(RECIPE))

    def climb(self, step: Step, climbed: Mapping[str, Climbed]) -> Climbed:
        """Look at views, learn from them, write the file."""
        ground, opened, numbers = self._ground, self._opened, step.numbers
        device = self._accelerator.device
        train = some(ground.material.parts["train"], int(numbers["photos"]))
        val = some(ground.material.known("val"), heads.HEAD_VAL)
        body = backbone_network.body_of(backbone_network.start(opened.backbone, ground.classes))
        cut, count = int(numbers["cut"]), int(numbers["views"])
        views = self._views(body, cut)
        needed = len(train) * count + len(val)
        missing = sum(len(views.missing(train, view)) for view in range(count)) + len(views.missing(val, 0))
        limit = int(ground.cache_size)
        with maps.room_for(views.name, views.bytes * needed, views.bytes * missing, limit):
            views.fill(val, [0], ground.progress)
            rate = views.fill(train, range(count), ground.progress, ground.stopped)
            if rate:
                ground.progress.say(f"Cached {count} views of {len(train):,} photos, {rate:.0f} views/s")
            loss = losses.of(RECIPE)
            below = [one for one in climbed.values() if one.head and one.backbone == opened.backbone.name]
            # A layer that knows nothing would spoil the stages below before it had learnt anything (Kumar et al. 2022,
            # linear probing, then fine-tuning).
            head = (
                calibrated_head(ground, below)
                if below
                else heads.fitted(ground, *(heads.part(ground, views.embeddings, one) for one in (train, val)))
            )
            network = backbone_network.start(opened.backbone, ground.classes, head)
            centre = torch.from_numpy(views.embeddings(train, 0).mean(axis=0))
            learner = Tail(network, cut, centre).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            before = {name: value.clone() for name, value in network.state_dict().items()}
            batches = DrawnBatches(
                [views.maps(train, view) for view in range(count)],
                labels(ground.material.numbers(train), device),
                batch=RECIPE.batch,
                seed=derived(ground.seed, 3),
                accelerator=self._accelerator,
                most=EPOCH_PHOTOS,
            )
            unsure(learner, batches, loss, seed=derived(ground.seed, 10))
            epochs = loop.fit(
                learner,
                batches,
                loop.unjudged,
                replace(RECIPE, epochs=int(numbers["epochs"])),
                seed=derived(ground.seed, 4),
                loss=loss,
                accelerator=self._accelerator,
                progress=ground.progress,
                checkpoint=ground.checkpoint(self.key),
                body=list(learner.stages),
                stopped=ground.stopped,
            )
            go_back(network, before, PARTWAY)
            learner.settle()
            fitted = heads.refit(ground, network, heads.of_maps(network, views), train, min(count, heads.VIEWS))
            # The stages before the cut too, which have not been on the device yet.
            network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            logits, temperature, metrics, verification = backbone_network.write(
                ground, opened, network, self.key, self.rung
            )
        learnt = Learnt(
            key=self.key,
            rung=self.rung,
            backbone=opened.backbone.name,
            how=f"{passes(loop.done(epochs), len(train)):.3g} passes over {count} views of {len(train):,} photos"
            f"{heads.ANEW * fitted}",
            expected=step.expected,
            temperature=temperature,
            val=metrics,
            verification=verification,
            epochs=epochs,
        )
        return ground.leave(learnt, logits, step)


def unsure(learner: Tail, batches: DrawnBatches, loss: losses.Loss, seed: int) -> None:
    """Scale the head, in place, so that it is as sure as the loss wants it: mixed and smoothed targets want less.

    Otherwise the first steps would only make it unsure, at the cost of the stages below it.
    """
    layer = learner.layer
    weights, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    shown = [batch for batch, _ in zip(batches.epoch(0), range(UNSURE_BATCHES), strict=False)]
    found: list[tuple[float, float]] = []
    learner.eval()
    with torch.no_grad(), torch.random.fork_rng():
        for scale in SCALES:
            torch.manual_seed(seed)
            layer.weight.copy_(weights * scale)
            layer.bias.copy_(bias * scale)
            found.append((sum(loss(learner, inputs, target).item() for inputs, target in shown), scale))
    with torch.no_grad():
        layer.weight.copy_(weights * min(found)[1])
        layer.bias.copy_(bias * min(found)[1])


def passes(epochs: float, photos: int) -> float:
    """Over all training photos; an epoch may be of fewer."""
    return epochs * min(1.0, EPOCH_PHOTOS / photos)


def go_back(network: Network, before: Mapping[str, Tensor], share: float) -> None:
    """Leave the network at ``share`` of the way from the weights ``before`` to its own."""
    after = network.state_dict()
    network.load_state_dict({name: torch.lerp(before[name].to(value), value, share) for name, value in after.items()})


def calibrated_head(ground: Ground, below: Sequence[Climbed]) -> Linear:
    """The better head of the rungs below, its logits divided by its temperature."""
    chosen = best(below, Limits())
    assert chosen is not None
    head = onnx_file.read_head(ground.model_file(chosen.key))
    return Linear(head.weights / chosen.temperature, head.bias / chosen.temperature)
