"""Rung 3: the last stages of the backbone and the head, trained on cached maps of views of the photos."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from kramar.data.manifest import Entry
from kramar.exporting import onnx_file
from kramar.models import maps
from kramar.models.engines import Opened
from kramar.models.linear import Linear
from kramar.models.networks import Network
from kramar.models.staged import Staged
from kramar.runtime.model import Model
from kramar.training import backbone_network, loop, losses
from kramar.training.budget import thinned
from kramar.training.climb import Climbed, Ground, Limits, Step
from kramar.training.head import Part, fit_head
from kramar.training.ladder import best
from kramar.training.recipe import Recipe
from kramar.training.seeds import derived
from kramar.training.tail import DrawnBatches, Tail, labels, speed, taught
from kramar.training.taught import calibrated
from kramar.training.teacher import Teacher
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
# Of validation photos, as many are looked at between epochs; an epoch is at most so many training photos.
JUDGED, EPOCH_PHOTOS = 1000, 20_000
_FEWEST_A_CLASS = 4
# Scales of the head to start from, and batches to try them on.
SCALES, UNSURE_BATCHES = (1.4, 1.0, 0.7, 0.5, 0.35, 0.25), 8
# Shares of the way from the network before its training to the one after it; with 0, training was for nothing.
WAY = (1.0, 0.85, 0.7, 0.5, 0.3, 0.0)
# Of the labels beside a teacher's word.
LABELS = 0.1
# Opening the network, writing and verifying the file.
_FIXED_SECONDS = 8.0


class TailRung:
    """The tail of one backbone, taught by the labels."""

    rung = "tail"

    def __init__(self, ground: Ground, accelerator: Accelerator, opener: Callable[[], Opened], backbone: str) -> None:
        """``backbone``: the name of one other than that which the head was fitted on, or nothing."""
        self._learner = TailLearner(ground, accelerator, opener)
        self.key = f"{self.rung}-{backbone}" if backbone else self.rung

    def plan(self, seconds: float, climbed: Mapping[str, Climbed]) -> Step:
        """Views and passes that ``seconds`` have time for."""
        del climbed
        return self._learner.plan(seconds)

    def climb(self, step: Step, climbed: Mapping[str, Climbed]) -> Climbed:
        """Look at views, learn from them, write the file."""
        return self._learner.learn(step, self.key, self.rung, climbed)


class TailLearner:
    """What it takes to train the tail of a backbone: views cached, passes over them, a file."""

    def __init__(self, ground: Ground, accelerator: Accelerator, opener: Callable[[], Opened]) -> None:
        """``opener`` opens the backbone, which takes a minute where it has to be converted first."""
        self._ground, self._accelerator = ground, accelerator
        self._opener = opener

    @cached_property
    def _opened(self) -> Opened:
        return self._opener()

    def plan(self, seconds: float, asking: float = math.inf) -> Step:
        """Views and passes that ``seconds`` have time for; a teacher answers for ``asking`` photos a second."""
        ground = self._ground
        bare = CACHING * self._opened.choice.rates[self._opened.choice.engine]
        caching = 1 / (1 / bare + 1 / asking)
        body, rate = self._speed()
        cut = body.joined
        counts = {part: len(entries) for part, entries in ground.material.parts.items()}
        judging = min(JUDGED, counts["val"]) / (3 * rate)
        fixed = _FIXED_SECONDS + (2 * counts["val"] + counts["test"]) / bare
        rows = int(ground.cache_size / maps.bytes_of(body.shapes[cut - 1])) - min(JUDGED, counts["val"])
        spare = seconds - fixed
        least_each = 1 / caching + FEWEST_PASSES / rate
        photos = max(0, min(counts["train"], rows, int((spare - FEWEST_PASSES * judging) / least_each)))
        if photos < min(counts["train"], _FEWEST_A_CLASS * ground.classes):
            if rows < counts["train"]:
                size = counts["train"] * maps.bytes_of(body.shapes[cut - 1])
                return Step(do=False, why=f"no room: one view of all photos takes {size / 1e6:.0f}MB of --cache-size")
            least = fixed + min(counts["train"], 10 * ground.classes) * least_each
            return Step(
                do=False, why=f"no time: it takes at least {least:.0f} s, {max(0.0, seconds):.0f} s are left for it"
            )
        # Time goes to passes, and to as many views as they are worth.
        an_epoch = min(photos, EPOCH_PHOTOS)
        cost = an_epoch / rate + judging
        most = MOST_PASSES * photos / an_epoch
        views = math.ceil(spare / (cost + an_epoch / SHOWN / caching) * an_epoch / photos / SHOWN)
        views = max(1, min(views, MOST_VIEWS, rows // photos))
        epochs = max(1, int(min(most, (spare - views * photos / caching) / cost)))
        expected = fixed + views * photos / caching + epochs * cost
        return Step(
            do=True, expected=expected, numbers={"cut": cut, "views": views, "epochs": epochs, "photos": photos}
        )

    def _speed(self) -> tuple[Staged, float]:
        """The body, and photos a second of steps beyond its cut."""
        network = backbone_network.start(self._opened, self._ground.classes)
        body = backbone_network.body_of(network)
        device = self._accelerator.device
        learner = Tail(network, body.joined).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs = torch.zeros(RECIPE.batch, *body.shapes[body.joined - 1], device=device)
        target = torch.arange(RECIPE.batch, device=device) % self._ground.classes
        channels_last = inputs.contiguous(memory_format=torch.channels_last)
        return body, speed(learner, channels_last, target, losses.of(RECIPE))

    def learn(
        self,
        step: Step,
        key: str,
        rung: str,
        climbed: Mapping[str, Climbed],
        teacher: Teacher | None = None,
        by: str = "",
    ) -> Climbed:
        """Look at views, learn from them (and from what ``teacher``, called ``by``, says of them), write the file."""
        ground, opened, numbers = self._ground, self._opened, step.numbers
        device = self._accelerator.device
        began = time.monotonic()
        train = some(ground.material.parts["train"], int(numbers["photos"]))
        val = some(ground.material.known("val"), JUDGED)
        body = backbone_network.body_of(backbone_network.start(opened, ground.classes))
        cut, count = int(numbers["cut"]), int(numbers["views"])
        views = Views(
            opened.backbone, opened.converted, opened.choice, cut, body.shapes[cut - 1], RECIPE.augment, RECIPE.strength
        )
        with maps.room_for(views.name, views.bytes * (len(train) * count + len(val)), int(ground.cache_size)):
            views.fill(val, [0], ground.progress)
            rate = views.fill(train, range(count), ground.progress, ground.stopped)
            if rate:
                ground.progress.say(f"Cached {count} views of {len(train):,} photos, {rate:.0f} views/s")
            truth = ground.material.numbers(train)
            targets, loss = labels(truth, device), losses.of(RECIPE)
            if teacher is not None:
                said = [teacher.logits(train, view, ground.progress, ground.stopped) for view in range(count)]
                targets, loss = taught(truth, said, device), losses.of(RECIPE, losses.hinton(1.0, LABELS))
            heads = [one for one in climbed.values() if one.head and one.backbone == opened.backbone.name]
            head = calibrated_head(ground, heads) if heads else first_head(ground, views, train, val)
            network = backbone_network.start(opened, ground.classes, head)
            centre = torch.from_numpy(views.embeddings(train, 0).mean(axis=0))
            learner = Tail(network, cut, centre).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            before = {name: value.clone() for name, value in network.state_dict().items()}
            checkpoint = ground.folder / f"{key}.training.safetensors"
            batches = DrawnBatches(
                [views.maps(train, view) for view in range(count)],
                targets,
                batch=RECIPE.batch,
                seed=derived(ground.seed, 3),
                accelerator=self._accelerator,
                most=EPOCH_PHOTOS,
            )
            unsure(learner, batches, loss, seed=derived(ground.seed, 10))
            judge = MapJudge(views, val, ground.material.numbers(val))
            epochs = loop.fit(
                learner,
                batches,
                judge,
                replace(RECIPE, epochs=int(numbers["epochs"])),
                seed=derived(ground.seed, 4),
                loss=loss,
                accelerator=self._accelerator,
                progress=ground.progress,
                checkpoint=checkpoint,
                body=list(learner.stages),
                stopped=ground.stopped,
            )
            kept = between(network, before, judge, learner) if val else 1.0
            learner.settle()
        network.to(memory_format=torch.channels_last)
        logits, temperature, metrics, verification = backbone_network.write(ground, opened, network, key, rung)
        path = ground.model_file(key)
        done = Climbed(
            key=key,
            rung=rung,
            backbone=opened.backbone.name,
            storage="float32",
            how=f"{len(epochs)} passes over {count} views of {len(train):,} photos{by and f', taught by {by}'}"
            + (f", {kept:.0%} of the way" if kept < 1 else ""),
            seconds=time.monotonic() - began,
            expected=step.expected,
            bytes=path.stat().st_size,
            milliseconds=Model(path).milliseconds(),
            temperature=temperature,
            val=metrics,
            verification=verification,
            epochs=epochs,
        )
        checkpoint.unlink(missing_ok=True)
        return ground.leave(done, logits)


def some(entries: list[Entry], most: int) -> list[Entry]:
    """About ``most`` of the entries, the same share of each class; all, if there are no more."""
    return thinned(entries, most) if most < len(entries) else entries


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


def between(network: Network, before: Mapping[str, Tensor], judge: loop.Judge, learner: nn.Module) -> float:
    """How much of the way from the weights ``before`` to the trained ones the network is left at, judged by validation.

    Between a network and its fine-tuned self lie networks that do better on photos from elsewhere (Wortsman et al.
    2021, WiSE-FT).
    """
    after = {name: value.clone() for name, value in network.state_dict().items()}

    def go(share: float) -> None:
        network.load_state_dict(
            {name: torch.lerp(before[name].to(value), value, share) for name, value in after.items()}
        )

    found = []
    learner.eval()
    for share in WAY:
        go(share)
        with torch.inference_mode():
            judged = judge(learner)
        assert judged is not None, "it is asked only where there are validation photos"
        found.append((judged[0], -share))
    best_share = -min(found)[1]
    go(best_share)
    return best_share


class MapJudge:
    """Loss and accuracy of a tail on validation photos of known class."""

    def __init__(self, views: Views, entries: Sequence[Entry], truth: Sequence[int]) -> None:
        self._views, self._entries, self._truth = views, entries, np.array(truth, np.int64)

    def __call__(self, model: nn.Module) -> tuple[float, float] | None:
        """See Judge."""
        if not self._entries:
            return None
        rows, places = self._views.maps(self._entries, 0)
        device = next(model.parameters()).device
        found = [
            model(
                torch.from_numpy(np.array(rows[places[first : first + 64]])).to(device).float().permute(0, 3, 1, 2)
            ).cpu()
            for first in range(0, len(places), 64)
        ]
        logits = torch.cat(found).float().numpy()
        return calibrated(logits, self._truth)


def calibrated_head(ground: Ground, heads: Sequence[Climbed]) -> Linear:
    """The better head of the rungs below, its logits divided by its temperature."""
    chosen = best(heads, Limits())
    assert chosen is not None
    head = onnx_file.read_head(ground.model_file(chosen.key))
    return Linear(head.weights / chosen.temperature, head.bias / chosen.temperature)


def first_head(ground: Ground, views: Views, train: Sequence[Entry], val: Sequence[Entry]) -> Linear:
    """The head to start from: a layer that knows nothing would spoil the stages below before it had learnt anything
    (Kumar et al. 2022, linear probing, then fine-tuning)."""
    parts = [
        Part(
            views.embeddings(entries, 0),
            np.array(ground.material.numbers(entries), np.int64),
            [entry.group for entry in entries],
        )
        for entries in (train, val)
    ]
    head, how = fit_head(parts[0], parts[1], ground.classes, ground.seed, ground.progress)
    return Linear(head.weights / how.temperature, head.bias / how.temperature)
