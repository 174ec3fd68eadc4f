"""The first room: photos are looked over before they are split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kramar.auditing import copies, glances
from kramar.auditing.issues import KINDS, Issue
from kramar.auditing.names import name_issues, size_issues
from kramar.auditing.odd import odd
from kramar.data.manifest import Entry, tied
from kramar.progress import Progress

# Near twins are looked for where glances are expected to take at most this share of the time there is. What a photo
# takes is not measured but reckoned, so that a split never depends on how busy a machine was: two cores of a small one.
_SHARE = 0.1
_SECONDS, _SECONDS_A_BYTE = 2e-3, 1 / 60e6


@dataclass(frozen=True, slots=True)
class Passed:
    """Photos that were looked over: ``entries``, those that belong together tied; copies among them; what is odd.

    ``warning`` says what was not looked for.
    """

    entries: list[Entry]
    copied: list[copies.Copies]
    issues: list[Issue]
    warning: str = ""


def look_over(entries: Sequence[Entry], progress: Progress, seconds: float | None = None) -> Passed:
    """Look for odd photos, exact duplicates and near twins, whatever their labels and parts.

    With fewer ``seconds`` than that is worth, only exact duplicates are found. Raises OutputError.
    """
    takes = sum(_SECONDS + entry.bytes * _SECONDS_A_BYTE for entry in {entry.hash: entry for entry in entries}.values())
    if seconds is not None and takes > _SHARE * seconds:
        warning = (
            "no time in the budget to look for near twins: some may be in training and in test; "
            "give the photos of one thing a product, or a longer --budget"
        )
        return Passed(tied(entries, ()), copies.exact(entries), [], warning)
    seen, places = glances.of(entries, progress)
    looked_at = [entries[place] for place in places]
    found = copies.found(entries, looked_at, seen)
    return Passed(tied(entries, [one.images for one in found]), found, odd(seen, looked_at))


def all_issues(passed: Passed, split: Sequence[Entry], *, own_split: bool) -> list[Issue]:
    """Every issue that is known before anything is learnt, ``split`` being the photos with their parts."""
    return [
        *copies.copy_issues(passed.copied, split, own_split=own_split),
        *name_issues(split),
        *size_issues(split),
        *passed.issues,
    ]


def summary(issues: Sequence[Issue]) -> str:
    """How many issues there are of each kind, in one line; empty where there are none."""
    counts = Counter(issue.kind for issue in issues)
    return ", ".join(f"{counts[kind]:,} {kind}" for kind in KINDS if counts[kind])
