"""Where a search starts: the setting that was asked for, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kramar.config import whole_number
from kramar.errors import InputError
from kramar.models import architectures, weights
from kramar.study import recipe_file
from kramar.study.settings import HEAD_LAYERS, NO_TRANSFER, REGIMES, Setting, default_recipe, require_transfer


def start(
    architecture: str,
    regime: str | None,
    transfer: str,
    head_layers: Sequence[int] | None,
    size: int | None,
    epochs: int | None,
    config: str | os.PathLike[str] | None,
    seed: int,
) -> Setting:
    """Where the search starts. Raises InputError for whatever is wrong with what was asked, before any work."""
    require_transfer(transfer, head_layers or ())
    found = architectures.find(architecture, "--architecture").at(size)
    regime = regime or ("weights+augment" if found.stock else "scratch+augment")
    if regime not in REGIMES:
        raise InputError(f"--regime: expected {', '.join(REGIMES)}, found {regime!r}")
    way = NO_TRANSFER
    if REGIMES[regime].weights:
        weights.require(found)
        way = transfer
    if head_layers is not None and way != "frozen":
        raise InputError(
            f"--head-layers: layers go on top of a frozen body (--transfer frozen), found {regime}"
            + ("" if way == NO_TRANSFER else f" with --transfer {way}")
        )
    layers = HEAD_LAYERS if head_layers is None else tuple(head_layers)
    setting = Setting(found, regime, way, default_recipe(found, regime, way, layers), seed)
    if config is not None:
        tuned = recipe_file.read(Path(config))
        if not tuned.fits(setting):
            raise InputError(f"--config: {tuned}: expected a recipe for {setting.variant}; another search made it")
        setting = replace(setting, recipe=replace(setting.recipe, **tuned.recipe))
    if epochs is not None:
        setting = replace(setting, recipe=replace(setting.recipe, epochs=whole_number(epochs, "--epochs", 1)))
    return setting
