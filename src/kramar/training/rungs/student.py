"""A student of another architecture: all of it learns, on drawn views, what a teacher says of them."""

from __future__ import annotations

from dataclasses import replace

import torch
from accelerate import Accelerator

from kramar.exporting import network_file
from kramar.models import architectures, networks, squares, weights
from kramar.models.architectures import Architecture
from kramar.models.networks import Network, Top
from kramar.models.squares import roomy
from kramar.training import backbone_network, loop, losses, taught
from kramar.training.climb import Climbed, Ground, Learnt, Limits, Step
from kramar.training.recipe import Recipe
from kramar.training.rungs.whole import LABELS
from kramar.training.seeds import derived
from kramar.training.tail import speed
from kramar.training.tail import taught as told
from kramar.training.teacher import Asking, Teacher

# Who can be a student where the backbone is too large or too slow, in the order in which they are tried: those with
# weights on this machine first. The order is not measured.
STUDENTS = ("mobilenet_v2", "mobilenet_v1", "mobilenetv4_small", "squeezenet1_1", "convnet:width=32")
FROM_WEIGHTS = Recipe(
    batch=32, learning_rate=1e-3, body_rate=0.3, augment="zoom", strength=0.8, mixup=0.4, ema=0.99
)  # fmt: skip
FROM_SCRATCH = replace(FROM_WEIGHTS, learning_rate=3e-3, weight_decay=0.05, mixup=0.2)
MOST_EPOCHS, FEWEST_EPOCHS = 60, 3
# A view is shown this often before another is worth drawing and asking about.
SHOWN, MOST_VIEWS = 2.5, 12
# Bytes a parameter as int8, scales and all.
_INT8 = 1.1
_FIXED_SECONDS = 20.0


def able(limits: Limits, classes: int) -> Architecture | None:
    """The first student whose int8 file is small enough, and whose own file is fast enough; None where none is."""
    found = [architectures.find(name, "--max-size") for name in STUDENTS]
    small = [one for one in found if limits.size is None or _int8_bytes(one, classes) <= limits.size]
    ranked = sorted(small, key=lambda one: weights.locate(one) is None)
    return next(
        (one for one in ranked if limits.latency is None or _milliseconds(one, classes) <= limits.latency), None
    )


def _int8_bytes(architecture: Architecture, classes: int) -> float:
    """About what its int8 file takes; the last layer is stored as float16."""
    network = networks.build(architecture, classes, Top(), 0)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return _INT8 * (parameters + networks.last_layer(network).weight.numel())


def _milliseconds(architecture: Architecture, classes: int) -> float:
    """Of one photo, in ONNX Runtime."""
    return network_file.milliseconds(networks.build(architecture, classes, Top(), 0), architecture.resize.size)


class StudentLearner:
    """What it takes to train a student of any architecture."""

    def __init__(self, ground: Ground, accelerator: Accelerator, architecture: Architecture) -> None:
        self._ground, self._accelerator, self._architecture = ground, accelerator, architecture

    @property
    def _recipe(self) -> Recipe:
        return FROM_SCRATCH if weights.locate(self._architecture) is None else FROM_WEIGHTS

    def plan(self, seconds: float, asking: Asking) -> Step:
        """Views and passes that ``seconds`` have time for, those of asking a teacher included."""
        ground, recipe = self._ground, self._recipe
        network = self._network()
        size = self._architecture.resize.size
        images = torch.zeros(recipe.batch, size, size, 3, dtype=torch.uint8, device=self._accelerator.device)
        target = torch.arange(recipe.batch, device=self._accelerator.device) % ground.classes
        rate = speed(network, images, target, losses.of(recipe))
        photos = {part: len(entries) for part, entries in ground.material.parts.items()}
        train, rule = ground.material.parts["train"], self._architecture.resize
        fixed = _FIXED_SECONDS + (2 * photos["val"] + photos["test"]) / (3 * rate)
        fixed += ground.decoding(ground.material.parts["val"], rule)
        an_epoch = photos["train"] / rate
        room = int(ground.cache_size / (size**2 * 3) / max(1, photos["train"]))
        asked, views, epochs = 0.0, 0, 0
        for view in range(min(MOST_VIEWS, room)):
            more = asked + photos["train"] * asking.seconds(view)
            more += ground.decoding(train, roomy(rule) if view else rule, again=view > 1)
            passes = min(MOST_EPOCHS, int((seconds - fixed - more) / an_epoch))
            if views and passes < SHOWN * (view + 1):
                break
            asked, views, epochs = more, view + 1, passes
        if epochs < FEWEST_EPOCHS:
            least = fixed + FEWEST_EPOCHS * an_epoch + asked
            time_left = f"no time: it takes at least {least:.0f} s, {max(0.0, seconds):.0f} s are left for it"
            return Step(do=False, why=time_left if room else "no room: one view takes more than --cache-size")
        return Step(do=True, expected=fixed + asked + epochs * an_epoch, numbers={"views": views, "epochs": epochs})

    def learn(self, step: Step, key: str, rung: str, teacher: Teacher, by: str) -> Climbed:
        """Draw, ask, learn, write. Raises ExportError, OutputError."""
        ground, architecture = self._ground, self._architecture
        count = int(step.numbers["views"])
        recipe = replace(self._recipe, epochs=int(step.numbers["epochs"]))
        rule = architecture.resize
        train = ground.material.parts["train"]
        squares.cache(ground.material.parts["val"], rule, ground.progress)
        said = [teacher.logits(train, view, ground.progress, ground.stopped) for view in range(count)]
        located = weights.locate(architecture)
        network = self._network()
        with taught.drawn(train, rule, recipe, count, ground.cache_size, ground.progress) as views:
            epochs = taught.learn(
                network,
                views,
                told(ground.material.numbers(train), said, self._accelerator.device),
                loop.unjudged,
                recipe,
                losses.of(recipe, losses.hinton(1.0, LABELS)),
                seed=derived(ground.seed, 8),
                accelerator=self._accelerator,
                progress=ground.progress,
                checkpoint=ground.checkpoint(key),
                body=[network.body] if located else (),
                stopped=ground.stopped,
            )
        logits, temperature, metrics, verification = backbone_network.export(
            ground, network, architecture, ground.model_file(key), rung
        )
        learnt = Learnt(
            key=key,
            rung=rung,
            backbone=architecture.name,
            how=f"{architecture.name}, {loop.done(epochs):.3g} passes over {count} views, taught by {by}",
            expected=step.expected,
            temperature=temperature,
            val=metrics,
            verification=verification,
            epochs=epochs,
        )
        return ground.leave(learnt, logits, step)

    def _network(self) -> Network:
        """With ImageNet weights where there are some on this machine."""
        network = networks.build(self._architecture, self._ground.classes, Top(), derived(self._ground.seed, 9))
        if (located := weights.locate(self._architecture)) is not None:
            networks.load(network, weights.read(self._architecture, located), str(located.path))
        network.to(self._accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network
