"""How long trials will take on this machine, from short measurements of their own steps on their own photos."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

import torch
from accelerate import Accelerator

from kramar.models import squares, weights
from kramar.models.networks import Network
from kramar.models.squares import roomy
from kramar.study import speed, trial
from kramar.study.settings import FROZEN_VIEWS, Setting
from kramar.study.views import missing
from kramar.training import augment, loop, losses
from kramar.training.answers import together
from kramar.training.material import Material
from kramar.training.photos import PhotoBatches, beside

# Each measurement takes this long, after the first steps, in which libraries choose their kernels.
PROBE_SECONDS = 2.5
# Exporting took 2.5 s for 55 layers (squeezenet1_1), 11.0 s for 200 (efficientnet_lite0), 19.8 s for 372 (densenet121)
# and 32.2 s for 612 (densenet201); a step of the layers on a frozen body 1 ms; intervals and the file's own speed 3 s.
_EXPORT_SECONDS, _EXPORT_SECONDS_A_LAYER = 1.0, 0.05
_HEAD_STEP_SECONDS = 1e-3
_OTHER_SECONDS = 3.0
# What a frozen body looks at: its architecture, and how photos are changed.
Views = tuple[str, str, float]


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one architecture on this machine: photos a second in training and in a forward pass, layers to export.

    ``looks``: of a frozen body, how many photos it has to look at before it learns.
    """

    training: float
    looking: float
    layers: int
    looks: int


class Estimator:
    """Expected wall seconds of trials; each architecture is measured once for what its trials share.

    Raises torch.OutOfMemoryError where a GPU has not enough for one.
    """

    def __init__(self, material: Material, accelerator: Accelerator) -> None:
        self._material, self._accelerator = material, accelerator
        self._speeds: dict[tuple[object, ...], Speed] = {}

    def seconds(self, setting: Setting, looked: set[Views] | None = None) -> float:
        """Wall seconds that ``setting`` will take from its start.

        ``looked``: what the trials before it have looked at, to which its own views are added.
        """
        recipe = setting.recipe
        speed = self._speed(setting)
        photos = {part: len(entries) for part, entries in self._material.parts.items()}
        judged = photos["val"] / speed.looking
        if setting.frozen:
            views = (setting.architecture.name, recipe.augment, recipe.strength)
            looks = 0 if looked is not None and views in looked else speed.looks
            if looked is not None:
                looked.add(views)
            learning = looks / speed.looking + judged
            learning += recipe.epochs * photos["train"] / recipe.batch * _HEAD_STEP_SECONDS
        else:
            learning = recipe.epochs * (photos["train"] / speed.training + judged)
        # Answers of the network, and the file's on validation.
        answers = (2 * photos["val"] + photos["test"]) / speed.looking
        return learning + answers + _EXPORT_SECONDS + _EXPORT_SECONDS_A_LAYER * speed.layers + _OTHER_SECONDS

    def looking(self, setting: Setting) -> float:
        """Photos a second that its network looks at."""
        return self._speed(setting).looking

    def _speed(self, setting: Setting) -> Speed:
        recipe = setting.recipe
        key = (
            setting.architecture.name,
            setting.architecture.resize,
            setting.frozen,
            recipe.batch,
            recipe.augment,
            recipe.strength,
            recipe.activation,
        )
        if key not in self._speeds:
            network, _, _ = trial.start(setting, len(self._material.classes))
            network.to(self._accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._speeds[key] = Speed(
                training=0.0 if setting.frozen else self._training(setting, network),
                looking=self._looking(setting, network),
                layers=sum(1 for module in network.modules() if not list(module.children())),
                looks=self._looks(setting, network) if setting.frozen else 0,
            )
        return self._speeds[key]

    def _looks(self, setting: Setting, network: Network) -> int:
        count = FROZEN_VIEWS if setting.recipe.augment != "none" else 1
        located = weights.require(setting.architecture)
        return missing(setting, network, located, self._material.parts["train"], count)

    def _training(self, setting: Setting, network: Network) -> float:
        recipe, rule = setting.recipe, setting.architecture.resize
        augmented = recipe.augment != "none"
        batches = PhotoBatches(
            squares.squares(self._material.parts["train"], roomy(rule) if augmented else rule),
            self._material.truth("train"),
            augment.POLICIES[recipe.augment](rule, recipe.strength),
            size=rule.size,
            batch=recipe.batch,
            seed=0,
            accelerator=self._accelerator,
            workers=beside(self._accelerator.device),
        )
        optimiser = loop.build_optimiser(network, recipe)
        loss = losses.of(recipe)
        network.train()
        steps = (batch for epoch in itertools.count() for batch in batches.epoch(epoch))
        began, done = 0.0, 0
        for number, (images, truth) in enumerate(steps):
            if number == speed.WARM_STEPS:
                began, done = self._now(), 0
            with self._accelerator.autocast():
                value = loss(network, images, truth)
            self._accelerator.backward(value)
            optimiser.step()
            optimiser.zero_grad()
            done += len(truth)
            if number > speed.WARM_STEPS and time.perf_counter() - began > PROBE_SECONDS:
                break
        return done / (self._now() - began)

    def _now(self) -> float:
        """The time at which what the device was told is done."""
        if self._accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def _looking(self, setting: Setting, network: Network) -> float:
        rule = setting.architecture.resize
        photos = squares.squares(self._material.parts["train"][: together(rule.size)], rule)
        return speed.look(network, photos, PROBE_SECONDS / 2)
