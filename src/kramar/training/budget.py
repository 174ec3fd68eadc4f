"""How many photos a time budget has room for, and which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kramar.data.manifest import Entry
from kramar.errors import InputError

# The share of the time left that features may take; the rest is for what cannot be measured beforehand.
FEATURES_SHARE = 0.85
# Passes over the features in one search for a head (forward and back, all steps), and how fast two cores do them.
_FIT_PASSES = 300
_FIT_FLOPS = 5e10
# Loading libraries, writing the model file and the report.
_OVERHEAD_SECONDS = 5.0
# Fewer photos a class than this teach nothing worth having.
_FEWEST_A_CLASS = 4


def affordable(entries: Sequence[Entry], pending: int, rate: float, width: int, seconds_left: float) -> int:
    """Photos that can be embedded, learnt and verified in ``seconds_left``; ``pending`` of them are not cached yet.

    ``rate`` is in photos a second, ``width`` the numbers in an embedding. Raises InputError where the time is too
    short for any useful model.
    """
    classes = len({entry.label for entry in entries})
    parts = Counter(entry.split for entry in entries)
    whole = fit_seconds(parts["train"], width, classes) + parts["val"] / rate + pending / rate / FEATURES_SHARE
    share = max(0.0, seconds_left - _OVERHEAD_SECONDS) / whole if whole else 1.0
    in_time = min(len(entries), int(share * len(entries)))
    if in_time < min(_FEWEST_A_CLASS * classes, len(entries)):
        raise InputError(
            f"--budget: {seconds_left:.0f}s are left, in which {in_time} of {len(entries):,} photos fit at "
            f"{rate:.3g} photos/s; all of them take about {whole + _OVERHEAD_SECONDS:.0f}s"
        )
    return in_time


def fit_seconds(photos: int, width: int, classes: int) -> float:
    """About what it takes to fit a head on embeddings."""
    return photos * width * classes * 2 * _FIT_PASSES / _FIT_FLOPS


def thinned(entries: Sequence[Entry], allowed: int) -> list[Entry]:
    """About ``allowed`` of ``entries``, in their order: the same share of each class and part, by hash."""
    share = allowed / len(entries)
    groups: dict[tuple[str, str], list[int]] = {}
    for place, entry in enumerate(entries):
        groups.setdefault((entry.label, entry.split), []).append(place)
    chosen: list[int] = []
    for places in groups.values():
        places.sort(key=lambda place: entries[place].hash)
        chosen += places[: max(1, round(share * len(places)))]
    return [entries[place] for place in sorted(chosen)]


def some(entries: list[Entry], most: int) -> list[Entry]:
    """About ``most`` of the entries, the same share of each class; all, if there are no more."""
    return thinned(entries, most) if most < len(entries) else entries
