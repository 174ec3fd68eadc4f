"""How a network is trained: every number of it, each default written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

Optimiser = Literal["sgd", "adam", "adamw", "rmsprop"]
Share = Annotated[float, Ge(0), Le(1)]
Count = Annotated[int, Gt(0)]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: passes over the training photos, at most.
        batch: photos a step.
        optimiser: ``sgd`` (with momentum 0.9 and Nesterov's correction), ``adam``, ``adamw`` or ``rmsprop``.
        learning_rate: the highest of the schedule, of the layers on top and of a network from scratch.
        body_rate: of the layers that come with weights, as a share of ``learning_rate``.
        stage_rate: the share that each stage of those layers has of the rate of the stage above it.
        relative: rates are shares of each tensor's size, as it is at the start (`loop.build_optimiser`).
        weight_decay: not applied to biases and normalisation layers.
        warmup: the share of all steps in which the rate rises; after it, it falls along half a cosine to zero.
        label_smoothing: the share of the target that all classes get alike (Szegedy et al. 2015).
        dropout: before each layer on top.
        head_layers: widths of the fully connected layers on top, before the last.
        activation: takes the place of the architecture's own, under a frozen body of that of the layers on top; empty
            keeps it.
        augment: the policy by name (``training/augment.py``); ``strength`` in [0, 1] is how far it goes.
        mixup: photos are mixed with each other, by shares drawn from Beta(mixup, mixup); 0 for not.
        cutmix: a rectangle of a photo goes into another, its size drawn from Beta(cutmix, cutmix); 0 for not.
        ema: decay a step of the moving average of the weights, which is what is kept; 0 for none.
        patience: epochs without a lower validation loss after which training stops; 0 for never.
    """

    epochs: Count = 20
    batch: Count = 64
    optimiser: Optimiser = "adamw"
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    body_rate: Share = 0.1
    stage_rate: Share = 1.0
    relative: bool = False
    weight_decay: Annotated[float, Ge(0)] = 0.02
    warmup: Share = 0.1
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.1
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    head_layers: tuple[Count, ...] = ()
    activation: str = ""
    augment: str = "none"
    strength: Share = 0.5
    mixup: Annotated[float, Ge(0)] = 0.0
    cutmix: Annotated[float, Ge(0)] = 0.0
    ema: Annotated[float, Ge(0), Lt(1)] = 0.0
    patience: Annotated[int, Ge(0)] = 0
