"""What one trial of a study is: an architecture, a regime, a way of transfer, a recipe and a seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kramar.config import whole_number
from kramar.errors import InputError
from kramar.models import weights
from kramar.models.architectures import Architecture
from kramar.training.recipe import Recipe

# Up to this side, a photo is moved and mirrored rather than zoomed: there is nothing to zoom into.
SMALL = 64
HEAD_LAYERS = (512, 256)
# Passes over frozen features cost nearly nothing.
FROZEN_EPOCHS = 60
FROZEN_VIEWS = 6
TRANSFERS = ("frozen", "full")
# What the table says of a network from scratch: nothing was transferred.
NO_TRANSFER = "none"


@dataclass(frozen=True, slots=True)
class Regime:
    """What a network starts from, and what it sees.

    Attributes:
        weights: from ImageNet weights, or else from scratch.
        augment: photos changed at random, or else as they are.
    """

    weights: bool
    augment: bool


REGIMES = {
    "weights": Regime(weights=True, augment=False),
    "weights+augment": Regime(weights=True, augment=True),
    "scratch+augment": Regime(weights=False, augment=True),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One trial.

    Attributes:
        transfer: ``frozen`` (layers on top of a body that stays as it is), ``full`` (all layers learn) or, from
            scratch, ``none``.
    """

    architecture: Architecture
    regime: str
    transfer: str
    recipe: Recipe
    seed: int

    @property
    def frozen(self) -> bool:
        """Whether the body stays as it came."""
        return self.transfer == "frozen"

    @property
    def key(self) -> str:
        """A name for files."""
        parts = (self.architecture.name, self.regime, self.transfer, f"seed{self.seed}")
        return re.sub(r"[^A-Za-z0-9_.+=-]+", "-", "-".join(parts))

    @property
    def variant(self) -> str:
        """What is compared, whatever the seed."""
        return variant(self.architecture.name, self.regime, self.transfer)

    @property
    def title(self) -> str:
        """A name for people."""
        return f"{self.variant}, seed {self.seed}"


def variant(architecture: str, regime: str, transfer: str) -> str:
    """A name for an architecture trained in one way."""
    return f"{architecture}, {regime}" + ("" if transfer == NO_TRANSFER else f", {transfer}")


def parse_regimes(text: str) -> list[str]:
    """Regimes in ``text``, separated by commas. Raises InputError for an unknown one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in REGIMES:
            raise InputError(f"--regimes: expected {', '.join(REGIMES)}, found {name!r}")
    if not names:
        raise InputError(f"--regimes: expected at least one of {', '.join(REGIMES)}, found none")
    return list(dict.fromkeys(names))


def parse_head_layers(text: str) -> tuple[int, ...]:
    """Widths in ``text``, separated by commas; none of them for ``none``. Raises InputError."""
    if text.strip() in ("", "none"):
        return ()
    return tuple(whole_number(width, "--head-layers", 1) for width in text.split(","))


def require_transfer(transfer: str, head_layers: Sequence[int]) -> None:
    """Raise InputError for an unknown way, or for layers that no network can have."""
    if transfer not in TRANSFERS:
        raise InputError(f"--transfer: expected {' or '.join(TRANSFERS)}, found {transfer!r}")
    if any(width < 1 for width in head_layers):
        raise InputError(f"--head-layers: expected widths of at least 1, found {', '.join(map(str, head_layers))}")


def default_recipe(
    architecture: Architecture, regime: str, transfer: str, head_layers: tuple[int, ...] = HEAD_LAYERS
) -> Recipe:
    """The recipe that a trial has unless told otherwise; ``head_layers`` are those on a frozen body."""
    policy = "shift" if architecture.resize.size <= SMALL else "trivial"
    augment = policy if REGIMES[regime].augment else "none"
    if transfer == "frozen":
        return Recipe(
            epochs=FROZEN_EPOCHS,
            learning_rate=1e-3,
            weight_decay=0.02,
            dropout=0.2,
            head_layers=head_layers,
            augment=augment,
            patience=15,
        )
    if transfer == "full":
        return Recipe(epochs=10, batch=32, learning_rate=2e-3, augment=augment, ema=0.98)
    return Recipe(epochs=30, batch=64, learning_rate=3e-3, weight_decay=0.05, augment=augment, ema=0.99)


def grid(
    architectures: Sequence[Architecture],
    regimes: Sequence[str],
    transfer: str,
    seeds: Sequence[int],
    head_layers: tuple[int, ...],
    changes: Mapping[str, Any],
) -> list[Setting]:
    """All trials, seed by seed, so that the first seed of everything comes before the second of anything.

    ``changes`` are what differs from the default recipes. An architecture that nobody has weights for (``convnet``) is
    trained from scratch only, if a regime is left for it. Raises InputError where weights are not on this machine.
    """
    settings = []
    from_scratch = any(not REGIMES[regime].weights for regime in regimes)
    for seed in seeds:
        for architecture in architectures:
            for regime in regimes:
                if REGIMES[regime].weights:
                    if from_scratch and not architecture.stock:
                        continue
                    weights.require(architecture)
                way = transfer if REGIMES[regime].weights else NO_TRANSFER
                recipe = replace(default_recipe(architecture, regime, way, head_layers), **changes)
                settings.append(Setting(architecture, regime, way, recipe, seed))
    return settings
