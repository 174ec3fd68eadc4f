"""Rung 4, and 5 for a network that stays as it is: all layers, trained further on photos that are changed anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional

from kramar.models import architectures, backbones, squares
from kramar.models.backbones import Backbone
from kramar.models.engines import Opened
from kramar.models.networks import Network
from kramar.models.squares import roomy
from kramar.models.staged import Staged
from kramar.training import backbone_network, heads, loop, losses, memory
from kramar.training.augment import POLICIES
from kramar.training.climb import Climbed, Ground, Learnt, Limits, Step
from kramar.training.ladder import best
from kramar.training.losses import Loss, Target
from kramar.training.photos import PhotoBatches, beside
from kramar.training.recipe import Recipe
from kramar.training.rungs.tail import CACHING, EPOCH_PHOTOS, go_back, passes
from kramar.training.seeds import derived
from kramar.training.tail import speed

# The body learns slowly, its first stages slowest: it is nearly there already.
RECIPE = Recipe(
    batch=16,
    learning_rate=0.03,
    body_rate=1.0,
    relative=True,
    stage_rate=0.8,
    augment="zoom",
    strength=0.8,
    mixup=0.2,
    cutmix=1.0,
    ema=0.995,
)
# Mixtures and far crops keep a network from knowing its photos by heart. Who has many of each class, and sees them a
# few times only, learns less by those: of 1,000 a class in 8 passes, 0.8 points less; of 24 a class, 1 point more, and
# 3 points in 16 passes (benchmarks/whole_choices.py).
GENTLE = replace(RECIPE, mixup=0.0, cutmix=0.0, strength=0.4)
FEW_PASSES, MANY_A_CLASS = 12.0, 150
# So does who spends a third of each step on the first stages, which hold this share of the weights at most: they stay.
STILL = 0.02
MOST_PASSES, FEWEST_EPOCHS = 80, 2
# How far from the network before this training to the one after it (see `rungs.tail.PARTWAY`).
PARTWAY = 0.7
# Of the labels beside what teachers say.
LABELS = 0.1
# The first part of the epochs sees smaller photos, which cost half (Howard et al. 2018; Tan and Le 2021, section 4).
SMALLER, SMALLER_PART = 0.75, 0.4
_FIXED_SECONDS = 8.0
# Bytes that the layers keep of a batch's photos at most on a CPU; a step's peak is about twice as much.
_KEPT = 10**9


class WholeRung:
    """The best network so far of a backbone, all of it."""

    key = rung = "whole"

    def __init__(self, ground: Ground, accelerator: Accelerator, backbone: str, opener: Callable[[], Opened]) -> None:
        self._learner = WholeLearner(ground, accelerator, backbone, opener)

    def plan(self, seconds: float, climbed: Mapping[str, Climbed]) -> Step:
        """As many epochs as there is time for."""
        return self._learner.plan(seconds, climbed)

    def climb(self, step: Step, climbed: Mapping[str, Climbed]) -> Climbed:
        """Train, write the file."""
        return self._learner.learn(step, self.key, self.rung, climbed)


class WholeLearner:
    """What it takes to train all layers of a network further, by the labels, or by what others say of its photos."""

    def __init__(self, ground: Ground, accelerator: Accelerator, backbone: str, opener: Callable[[], Opened]) -> None:
        self._ground, self._accelerator, self._backbone, self._opener = ground, accelerator, backbone, opener

    def plan(self, seconds: float, climbed: Mapping[str, Climbed], teachers: Sequence[Climbed] = ()) -> Step:
        """As many epochs as there is time for, those who teach asked in each step."""
        ground = self._ground
        own = [one for one in climbed.values() if one.backbone == self._backbone]
        # At another input size its layers are the same.
        family = architectures.find(self._backbone).family
        source = best(
            own or [one for one in climbed.values() if architectures.find(one.backbone).family == family], Limits()
        )
        if source is None:
            return Step(do=False, why=f"no network of {self._backbone} was trained before it")
        opened = self._opener()
        network, loss = self._network(opened.backbone, source), self._loss(RECIPE, teachers)
        counts = {part: len(entries) for part, entries in ground.material.parts.items()}
        bare = CACHING * opened.choice.rates[opened.choice.engine]
        photos, train, rule = min(counts["train"], EPOCH_PHOTOS), ground.material.parts["train"], opened.backbone.resize
        looked_at = _FIXED_SECONDS + (2 * counts["val"] + counts["test"]) / bare
        looked_at += ground.decoding(train, roomy(rule)) + ground.decoding(
            [*train, *ground.material.parts["val"]], rule
        )
        # Of more photos than the cache keeps, each look.
        decoding = ground.decoding(train, roomy(rule), again=True) * photos / max(1, counts["train"])
        # What ten epochs cost tells what one does on average.
        sizes = _sizes(opened.backbone.resize.size, 10, taught=bool(teachers))

        def costs() -> tuple[float, float]:
            """Seconds of an epoch, and of all that is beside them."""
            rates = {size: self._rate(network, size, loss) for size in set(sizes)}
            looking = heads.LOOKING * min(rates.values())
            refit = heads.refit_seconds(counts["train"], looking, opened.backbone.width, ground.classes)
            return decoding + photos * sum(1 / rates[size] for size in sizes) / len(sizes), looked_at + refit

        an_epoch, fixed = costs()
        few = passes((seconds - fixed) / an_epoch, counts["train"]) < FEW_PASSES
        gentle = not teachers and few and counts["train"] >= MANY_A_CLASS * ground.classes
        if gentle:
            hold_still(backbone_network.body_of(network))
            an_epoch, fixed = costs()
        most = MOST_PASSES * counts["train"] // max(1, photos)
        epochs = min(most, int((seconds - fixed) / an_epoch))
        if epochs < FEWEST_EPOCHS:
            least = fixed + FEWEST_EPOCHS * an_epoch
            return Step(
                do=False, why=f"no time: it takes at least {least:.0f} s, {max(0.0, seconds):.0f} s are left for it"
            )
        return Step(
            do=True,
            expected=fixed + epochs * an_epoch,
            numbers={"epochs": epochs, "gentle": float(gentle)},
            start=source.key,
            models=[one.key for one in teachers],
        )

    def learn(self, step: Step, key: str, rung: str, climbed: Mapping[str, Climbed]) -> Climbed:
        """Train, write the file."""
        ground, accelerator = self._ground, self._accelerator
        source, teachers = climbed[step.start], [climbed[one] for one in step.models]
        opened = self._opener()
        network = self._network(opened.backbone, source)
        body = backbone_network.body_of(network)
        train = ground.material.parts["train"]
        rule = opened.backbone.resize
        for needed, entries in ((roomy(rule), train), (rule, ground.material.parts["val"])):
            squares.cache(entries, needed, ground.progress)
        epochs, gentle = int(step.numbers["epochs"]), bool(step.numbers.get("gentle"))
        sizes = _sizes(rule.size, epochs, taught=bool(teachers))
        recipe, still = (GENTLE, hold_still(body)) if gentle else (RECIPE, 0)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        done = loop.fit(
            network,
            Growing(
                {
                    size: PhotoBatches(
                        squares.squares(train, roomy(rule)),
                        ground.material.numbers(train),
                        POLICIES[recipe.augment](rule.model_copy(update={"size": size}), recipe.strength),
                        # Each photo gets a draw of its own.
                        size=rule.size,
                        batch=RECIPE.batch,
                        seed=derived(ground.seed, 6),
                        accelerator=accelerator,
                        workers=beside(accelerator.device),
                        most=EPOCH_PHOTOS,
                    )
                    for size in set(sizes)
                },
                sizes,
            ),
            loop.unjudged,
            replace(recipe, epochs=epochs),
            seed=derived(ground.seed, 7),
            loss=self._loss(recipe, teachers),
            accelerator=accelerator,
            progress=ground.progress,
            checkpoint=ground.checkpoint(key),
            body=list(body.stages),
            at_once=self._at_once(network, rule.size),
            stopped=ground.stopped,
        )
        if not gentle:
            go_back(network, before, PARTWAY)
        embedded = heads.of_photos(network, rule, recipe, ground.progress)
        fitted = heads.refit(ground, network, embedded, train, heads.VIEWS)
        logits, temperature, metrics, verification = backbone_network.write(ground, opened, network, key, rung)
        by = f", taught by {' and '.join(step.models)}" if teachers else ""
        layers = f"all but the first {still} stages" if still else "all layers"
        learnt = Learnt(
            key=key,
            rung=rung,
            backbone=opened.backbone.name,
            how=f"{layers} of {source.key}, {passes(loop.done(done), len(train)):.3g} passes over {len(train):,} photos"
            f"{by}{heads.ANEW * fitted}",
            expected=step.expected,
            temperature=temperature,
            val=metrics,
            verification=verification,
            epochs=done,
        )
        return ground.leave(learnt, logits, step)

    def _network(self, backbone: Backbone, one: Climbed) -> Network:
        network = backbone_network.reopen(backbone, self._ground.classes, self._ground.model_file(one.key))
        return network.to(self._accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _loss(self, recipe: Recipe, teachers: Sequence[Climbed]) -> Loss:
        if not teachers:
            return losses.of(recipe)
        networks = [(backbones.find(one.backbone), one) for one in teachers]
        opened = [
            (self._network(backbone, one).eval(), backbone.resize.size, one.temperature) for backbone, one in networks
        ]

        def asked(pixels: Tensor) -> Tensor:
            with torch.no_grad():
                said = [
                    (network(at(pixels, size)) / temperature).softmax(dim=1) for network, size, temperature in opened
                ]
            return torch.stack(said).mean(dim=0)

        return losses.matching(recipe, asked, LABELS)

    def _rate(self, network: Network, size: int, loss: Loss) -> float:
        """Photos a second of its steps at this size."""
        device = self._accelerator.device
        at_once = self._at_once(network, size)
        images = torch.zeros(at_once, size, size, 3, dtype=torch.uint8, device=device)
        target = torch.arange(at_once, device=device) % self._ground.classes
        return speed(network, images, target, loss)

    def _at_once(self, network: Network, size: int) -> int:
        """Photos of this size that go through all layers together."""
        device = self._accelerator.device
        if device.type != "cpu":
            return RECIPE.batch
        each = memory.kept(network, torch.zeros(1, size, size, 3, dtype=torch.uint8))
        parts = math.ceil(RECIPE.batch * each / _KEPT)
        return math.ceil(RECIPE.batch / parts)


def hold_still(body: Staged) -> int:
    """Let the first stages learn nothing, as far as they hold next to none of the weights; how many these are."""
    sizes = [sum(parameter.numel() for parameter in stage.parameters()) for stage in body.stages]
    still = sum(held <= STILL * sum(sizes) for held in accumulate(sizes))
    body.stages[:still].requires_grad_(False)
    return still


def at(pixels: Tensor, size: int) -> Tensor:
    """Photos ``[B, S, S, 3]`` at another size; as they are, if it is theirs."""
    if pixels.shape[1] == size:
        return pixels
    first = pixels.permute(0, 3, 1, 2).float()
    resized = functional.interpolate(first, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return resized.permute(0, 2, 3, 1)


def _sizes(size: int, epochs: int, *, taught: bool) -> list[int]:
    """Of each epoch's photos. A teacher, which knows photos of its own size, sees no smaller ones."""
    first = 0 if taught else round(SMALLER_PART * epochs)
    return [smaller(size)] * first + [size] * (epochs - first)


def smaller(size: int) -> int:
    """The size of the first epochs' photos, in whole 32 pixels, by which the network divides them."""
    return max(32, round(SMALLER * size / 32) * 32)


class Growing:
    """Batches whose photos grow from epoch to epoch."""

    def __init__(self, batches: Mapping[int, PhotoBatches], sizes: list[int]) -> None:
        """``sizes``: of each epoch's photos."""
        self._batches, self._sizes = batches, sizes

    def __len__(self) -> int:
        return len(next(iter(self._batches.values())))

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Target]]:
        """See Batches."""
        return self._batches[self._sizes[number]].epoch(number)
