"""What the commands of the study share."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kramar.data.listing import refuse
from kramar.data.manifest import Entry
from kramar.data.pixels import median_side
from kramar.errors import DataError, InputError, MissingExtra
from kramar.jobs.card import model_card as card_of
from kramar.jobs.gather import Gathered
from kramar.records import LeftOut, Metrics, ModelCard, ResizeRule

try:
    from kramar.models import hub
    from kramar.training.material import decode
except ImportError:
    raise MissingExtra("train", "a study") from None

if TYPE_CHECKING:
    from kramar.jobs.run import RunFolder
    from kramar.models.weights import Located
    from kramar.study.settings import Setting
    from kramar.study.trial import Card
    from kramar.training.material import Material


def sized(entries: Sequence[Entry], settings: Sequence[Setting], size: int | None) -> None:
    """Refuse photos too small for an architecture, unless a size was asked for. Raises InputError."""
    median = median_side([entry.photo for entry in entries])
    for one in settings:
        smallest = one.architecture.smallest
        if median < smallest and size is None and "@" not in one.architecture.name and median:
            raise InputError(
                f"{one.architecture.name} takes photos of at least {smallest} pixels, and these have {median} "
                f"(median of their short sides); leave it out, or enlarge them with --size {smallest}"
            )


def readable(
    gathered: Gathered, rules: Sequence[ResizeRule], source: Path, run: RunFolder, *, strict: bool
) -> tuple[list[Entry], list[LeftOut]]:
    """The photos that can be read, their squares by all ``rules`` in the cache, and those that cannot be.

    Raises DataError where there are none, and with ``strict`` where one of them could be mended.
    """
    with run.room("decoding"):
        entries, unreadable = decode(gathered.entries, rules, run)
    if strict:
        refuse(unreadable, source)
    if not entries:
        raise DataError(f"{source}: none of the photos can be read, the first: {unreadable[0].detail}")
    return entries, unreadable


def spoken(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def command(source: Path, chosen: Mapping[str, str], folder: Path) -> str:
    """The command line that reproduces a run of a study."""
    words = ["kramar", chosen["command"], str(source), "--out", str(folder)]
    for option, value in chosen.items():
        if option == "--strict":
            words += ["--strict"] if value == "True" else []
        elif option.startswith("--") and value:
            words += [option, value]
    return shlex.join(words)


def model_card(gathered: Gathered, material: Material, seed: int, rung: str) -> Card:
    """How the model file of a trial on ``material`` is described; ``rung`` is the command that it comes from."""
    entries = [entry for part in material.parts.values() for entry in part]

    def card(setting: Setting, metrics: dict[str, Metrics], temperature: float, located: Located | None) -> ModelCard:
        return card_of(
            gathered,
            entries,
            material.classes,
            seed=seed,
            resize=setting.architecture.resize,
            temperature=temperature,
            backbone=setting.architecture.name,
            rung=rung,
            storage="float32",
            metrics=metrics,
            weights_source=f"{located.kind} {located.path.name}" if located else "none: trained from scratch",
            weights_licence=hub.licence(setting.architecture, located) if located else "",
        )

    return card
