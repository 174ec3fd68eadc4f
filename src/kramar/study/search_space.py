"""What a search may change in a recipe, and how far: points in a space, and the recipes that they stand for.

Learning rate, weight decay and batch size are searched as multiples of the recipe that the search starts from, and the
first two by optimiser: what is usual for SGD would make Adam diverge. So one axis means the same for all optimisers,
and no trial is wasted on a rate that is off by its optimiser's scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import floor, log2
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from torch import nn

from kramar.errors import InputError
from kramar.models import networks
from kramar.models.networks import ACTIVATIONS, Top
from kramar.study.settings import HEAD_LAYERS, REGIMES, Setting
from kramar.training.augment import POLICIES
from kramar.training.recipe import Recipe

Value = str | int | float
Point = dict[str, Value]

# Usual learning rate and weight decay of an optimiser, as multiples of AdamW's. With Nesterov's momentum of 0.9, SGD
# takes 20 times the rate; RMSprop with momentum 0.9 steps ten times as far as Adam at the same rate. Outside of AdamW
# the decay is part of the gradient (Loshchilov and Hutter 2017), where a hundredth of it is usual: 5e-4 for 0.05.
_USUAL = {"adamw": (1.0, 1.0), "adam": (1.0, 0.01), "sgd": (20.0, 0.01), "rmsprop": (0.1, 0.01)}
# Of a recipe without any decay: the one of AdamW to search around.
_DECAY = 0.02
_TENFOLD = FloatDistribution(0.1, 10.0, log=True)
# Batches from a quarter to four times the recipe's, but at least four steps an epoch.
_DOUBLINGS = 2
_LEAST_STEPS = 4
_NARROWEST, _WIDEST, _MOST_LAYERS = 64, 1024, 3
# Under a frozen body each strength of each policy is looked at once by the whole network: a few must do.
_FROZEN_STRENGTHS = 0.25
# The library's classes of the functions that can be exchanged, as recipes spell them.
_SPELT = {
    "relu": "relu",
    "relu6": "relu6",
    "elu": "elu",
    "selu": "selu",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
    "leakyrelu": "leaky_relu",
    "hardswish": "hardswish",
}
# What a network's own functions are called where they are of several kinds.
_OWN = "own"


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched.

    Attributes:
        base: the setting that the search starts from: the point of trial 0.
        axes: range of each coordinate of a point.
        own_activation: what the activation function is called that a recipe without one has.
    """

    base: Setting
    axes: Mapping[str, BaseDistribution]
    own_activation: str

    @staticmethod
    def of(base: Setting, photos: int) -> Space:
        """The space around ``base`` for as many training photos. Raises InputError where its activation cannot be."""
        recipe, frozen = base.recipe, base.frozen
        most = max(recipe.batch, photos // _LEAST_STEPS)
        axes: dict[str, BaseDistribution] = {
            "optimiser": CategoricalDistribution(list(_USUAL)),
            "rate": _TENFOLD,
            "decay": _TENFOLD,
            "batch": IntDistribution(
                -min(_DOUBLINGS, floor(log2(recipe.batch))), min(_DOUBLINGS, floor(log2(most / recipe.batch)))
            ),
            "dropout": FloatDistribution(0.0, 0.6),
            "label_smoothing": FloatDistribution(0.0, 0.2),
        }
        if REGIMES[base.regime].augment:
            axes["augment"] = CategoricalDistribution([name for name in POLICIES if name != "none"])
            step = _FROZEN_STRENGTHS if frozen else None
            axes["strength"] = FloatDistribution(step or 0.1, 1.0 if step else 0.9, step=step)
        own = "relu" if frozen else _own_activation(base)
        if own and (frozen or not REGIMES[base.regime].weights):
            axes["activation"] = CategoricalDistribution([own, *(name for name in ACTIVATIONS if name != own)])
        elif recipe.activation and not own:
            raise InputError(f"{base.architecture.name}: its activation functions cannot be exchanged")
        if frozen:
            axes["layers"] = IntDistribution(0, _MOST_LAYERS)
            axes["width"] = IntDistribution(_NARROWEST, _WIDEST, log=True)
        if base.transfer == "full":
            axes["body_rate"] = FloatDistribution(0.01, 1.0, log=True)
        return Space(base, axes, own)

    def shortened(self, epochs: int) -> Space:
        """The same space for trials of so many epochs."""
        return replace(self, base=replace(self.base, recipe=replace(self.base.recipe, epochs=epochs)))

    @property
    def start(self) -> Point:
        """Where ``base`` lies, or the nearest point to it that is in the space."""
        recipe = self.base.recipe
        exact: Point = {
            "optimiser": recipe.optimiser,
            "rate": 1.0,
            "decay": 1.0 if recipe.weight_decay else 0.0,
            "batch": 0,
            "dropout": recipe.dropout,
            "label_smoothing": recipe.label_smoothing,
            "augment": recipe.augment,
            "strength": recipe.strength,
            "activation": recipe.activation or self.own_activation,
            "layers": len(recipe.head_layers),
            "width": recipe.head_layers[0] if recipe.head_layers else HEAD_LAYERS[0],
            "body_rate": recipe.body_rate,
        }
        return {name: _nearest(axis, exact[name]) for name, axis in self.axes.items()}

    def recipe(self, point: Mapping[str, Value]) -> Recipe:
        """The recipe at ``point``, its numbers rounded to three digits that a person can copy."""
        base = self.base.recipe
        rate, decay = _USUAL[str(point["optimiser"])]
        base_rate, base_decay = _USUAL[base.optimiser]
        changes: dict[str, Any] = {
            "optimiser": point["optimiser"],
            "learning_rate": _short(float(point["rate"]) * base.learning_rate * rate / base_rate),
            "weight_decay": _short(float(point["decay"]) * (base.weight_decay / base_decay or _DECAY) * decay),
            "batch": max(1, round(base.batch * 2.0 ** float(point["batch"]))),
            "dropout": _short(float(point["dropout"])),
            "label_smoothing": _short(float(point["label_smoothing"])),
        }
        if "augment" in point:
            changes |= {"augment": point["augment"], "strength": _short(float(point["strength"]))}
        if "activation" in point:
            changes["activation"] = "" if point["activation"] == self.own_activation else point["activation"]
        if "layers" in point:
            widths = (max(1, round(float(point["width"]) / 2**place)) for place in range(int(point["layers"])))
            changes["head_layers"] = tuple(widths)
        if "body_rate" in point:
            changes["body_rate"] = _short(float(point["body_rate"]))
        return replace(base, **changes)

    def parameters(self, recipe: Recipe) -> dict[str, Value | None]:
        """What ``recipe`` has of all that is searched, by the names that a table shows; None for what it lacks."""
        every: dict[str, Value | None] = {
            "optimiser": recipe.optimiser,
            "learning_rate": recipe.learning_rate,
            "weight_decay": recipe.weight_decay,
            "batch": recipe.batch,
            "dropout": recipe.dropout,
            "label_smoothing": recipe.label_smoothing,
            "augment": recipe.augment,
            "strength": recipe.strength,
            "activation": recipe.activation or self.own_activation,
            "layers": len(recipe.head_layers),
            "width": recipe.head_layers[0] if recipe.head_layers else None,
            "body_rate": recipe.body_rate,
        }
        return {shown: every[shown] for axis in self.axes if (shown := shown_as(axis))}


def shown_as(axis: str) -> str:
    """What a coordinate is called in tables: the part of a recipe that follows from it."""
    return {"rate": "learning_rate", "decay": "weight_decay"}.get(axis, axis)


def own_activations(module: nn.Module) -> set[str]:
    """The kinds of activation function in ``module`` that can be exchanged."""
    return {spelt for part in module.modules() if (spelt := _SPELT.get(type(part).__name__.lower()))}


def _own_activation(base: Setting) -> str:
    """What the architecture's own activation function is called; empty where it cannot be exchanged."""
    kinds = own_activations(networks.build(base.architecture, 2, Top(), base.seed).body)
    return kinds.pop() if len(kinds) == 1 else _OWN if kinds else ""


def _nearest(axis: BaseDistribution, value: Value) -> Value:
    if isinstance(axis, CategoricalDistribution):
        return value if value in axis.choices else str(axis.choices[0])
    assert isinstance(axis, FloatDistribution | IntDistribution)
    assert not isinstance(value, str)
    inside = min(max(value, axis.low), axis.high)
    if axis.step and isinstance(axis, FloatDistribution):
        inside = axis.low + axis.step * round((inside - axis.low) / axis.step)
    return inside


def _short(number: float) -> float:
    return float(f"{number:.3g}")
