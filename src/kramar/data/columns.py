"""A table's rows by kramar's column names, and which of its columns these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from kramar.errors import DataError

COLUMNS = ("image", "label", "category", "product", "split")

# Where the user finds a row, and its fields by kramar's names, or what is wrong with it.
Record = tuple[str, Mapping[str, object] | str]


def choose(path: Path, columns: Mapping[str, str], required: Sequence[str], found: list[str]) -> dict[str, str]:
    """The table's names of kramar's columns, of those that it has.

    ``columns`` are the names that the user gave, ``found`` those in ``path``. Raises DataError where a
    required column or one that the user named is missing or there twice.
    """
    wanted = {ours: columns.get(ours, ours) for ours in COLUMNS}
    needed = {ours: theirs for ours, theirs in wanted.items() if ours in required or ours in columns}
    missing = {ours: theirs for ours, theirs in needed.items() if theirs not in found}
    if missing:
        others = [name for name in found if name and name not in wanted.values()]
        nearest: dict[str, str] = {}
        for ours, theirs in missing.items():
            nearest[ours] = max(others, key=lambda name: _likeness(theirs, name), default="COLUMN")
            others = [name for name in others if name != nearest[ours]]
        advice = ",".join(f"{ours}={theirs}" for ours, theirs in {**columns, **nearest}.items())
        raise DataError(
            f"{path}: expected the column{'s' * (len(missing) > 1)} {_names(list(missing.values()))}, "
            f"found {_names(found) or 'none'}; name yours with --columns {advice}"
        )
    for theirs in wanted.values():
        if found.count(theirs) > 1:
            raise DataError(f"{path}: expected one column {theirs!r}, found {found.count(theirs)}; rename the others")
    return {ours: theirs for ours, theirs in wanted.items() if theirs in found}


def _likeness(wanted: str, name: str) -> float:
    return SequenceMatcher(None, wanted.lower(), name.lower()).ratio()


def _names(names: list[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
