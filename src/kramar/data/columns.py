"""A table's rows by kramar's column names, and which of its columns these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from kramar.errors import DataError, InputError

COLUMNS = ("image", "label", "category", "product", "split")
# How alike two names are, of 1, from which one may be a slip of the other (``foto`` and ``photo``: 0.67).
_ALIKE = 0.6

# Where the user finds a row, and its fields by kramar's names, or what is wrong with it.
Record = tuple[str, Mapping[str, object] | str]


def parse_columns(text: str) -> dict[str, str]:
    """``image=photo,label=group`` as a mapping from kramar's column names to the table's.

    Raises InputError for a pair without ``=`` or a name that kramar does not know.
    """
    columns: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        ours, separator, theirs = (part.strip() for part in pair.partition("="))
        if not separator or ours not in COLUMNS or not theirs:
            raise InputError(
                f"--columns: expected pairs such as image=photo,label=group "
                f"(left of = one of {', '.join(COLUMNS)}), found {pair!r}"
            )
        columns[ours] = theirs
    return columns


def spelt(columns: Mapping[str, str]) -> str:
    """``columns`` as `parse_columns` reads them, in alphabetical order."""
    return ",".join(f"{ours}={theirs}" for ours, theirs in sorted(columns.items()))


def choose(path: Path, columns: Mapping[str, str], required: Sequence[str], found: list[str]) -> dict[str, str]:
    """The table's names of kramar's columns, of those that it has.

    ``columns`` are the names that the user gave, ``found`` those in ``path``. Raises DataError where a
    required column or one that the user named is missing or there twice, and for a name that kramar does not know.
    """
    if unknown := [ours for ours in columns if ours not in COLUMNS]:
        raise DataError(f"{path}: columns: expected names of {', '.join(COLUMNS)}, found {_names(unknown)}")
    wanted = {ours: columns.get(ours, ours) for ours in COLUMNS}
    needed = {ours: theirs for ours, theirs in wanted.items() if ours in required or ours in columns}
    missing = {ours: theirs for ours, theirs in needed.items() if theirs not in found}
    if missing:
        raise DataError(
            f"{path}: expected the column{'s' * (len(missing) > 1)} {_names(list(missing.values()))}, "
            f"found {_names(found) or 'none'}; {_advice(columns, wanted, missing, found)}"
        )
    for theirs in wanted.values():
        if found.count(theirs) > 1:
            raise DataError(f"{path}: expected one column {theirs!r}, found {found.count(theirs)}; rename the others")
    return {ours: theirs for ours, theirs in wanted.items() if theirs in found}


def _advice(
    columns: Mapping[str, str], wanted: Mapping[str, str], missing: Mapping[str, str], found: Sequence[str]
) -> str:
    """What to write instead of the ``missing`` columns: names that the table has."""
    others = [name for name in found if name and name not in wanted.values()]
    mended = dict(columns)
    for ours, theirs in missing.items():
        if ours in others:
            mended.pop(ours)  # it has kramar's own name, so that nothing need be said of it
            others.remove(ours)
            continue
        name = max(others, key=lambda name: _likeness(theirs, name), default="")
        # Of a name that the user gave only a slip can be put right; for kramar's own any column may be meant.
        if name and (ours not in columns or _likeness(theirs, name) >= _ALIKE):
            mended[ours] = name
            others.remove(name)
        else:
            mended[ours] = "COLUMN"
    if not mended:
        return "the table has kramar's own names: leave --columns away"
    pairs = ",".join(f"{ours}={theirs}" for ours, theirs in mended.items())
    return f"name {'one of these' if others and 'COLUMN' in mended.values() else 'yours'} with --columns {pairs}"


def _likeness(wanted: str, name: str) -> float:
    return SequenceMatcher(None, wanted.lower(), name.lower()).ratio()


def _names(names: list[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
