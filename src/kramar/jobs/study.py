"""What the commands of the study share."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kramar.data import manifest, split
from kramar.data.manifest import Entry
from kramar.data.pixels import short_side
from kramar.errors import DataError, InputError, MissingExtra
from kramar.jobs.gather import Gathered, categories, refuse
from kramar.records import ClassCard, LeftOut, Metrics, ModelCard, ResizeRule
from kramar.version import __version__

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

# Of a class of photos: enough to tell how large they are.
_SIZED = 200


def sized(entries: Sequence[Entry], settings: Sequence[Setting], size: int | None) -> None:
    """Refuse photos too small for an architecture, unless a size was asked for. Raises InputError."""
    sides = sorted(side for entry in entries[:: max(1, len(entries) // _SIZED)] if (side := short_side(entry.photo)))
    median = sides[len(sides) // 2] if sides else 0
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


def model_card(gathered: Gathered, source: Path, seed: int, rung: str) -> Card:
    """How the model file of a trial is described; ``rung`` is the command that it comes from."""
    path_of = categories(gathered.entries)
    labels = manifest.require_classes(gathered.entries, source)
    counts = Counter(entry.split for entry in gathered.entries)

    def card(setting: Setting, metrics: dict[str, Metrics], temperature: float, located: Located | None) -> ModelCard:
        return ModelCard(
            kramar=__version__,
            classes=[ClassCard(label=label, category=path_of[label]) for label in labels],
            resize=setting.architecture.resize,
            temperature=temperature,
            backbone=setting.architecture.name,
            rung=rung,
            storage="float32",
            metrics=metrics,
            data_fingerprint=gathered.fingerprint,
            seed=seed,
            split={part: counts[part] for part in split.PARTS},
            weights_source=f"{located.kind} {located.path.name}" if located else "none: trained from scratch",
            weights_licence=hub.source(setting.architecture).licence if located else "",
        )

    return card
