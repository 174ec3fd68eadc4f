"""What a cleaned table leaves out and labels anew, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kramar.auditing.copies import Copies
from kramar.auditing.issues import Issue
from kramar.data.manifest import Entry

REMOVED, RELABELLED = "removed", "relabelled"
# A label that is probably wrong is replaced where a model that has not learnt from the photo is so sure of another.
SURE = 0.5
# Copies under different labels are told apart from two things that look nearly the same by edges that are so alike.
CERTAIN = 0.98


@dataclass(frozen=True, slots=True)
class Judged:
    """What a model that has not learnt from a photo says of it: the likeliest label and its probability."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Change:
    """A row that a cleaned table lacks, or labels anew.

    Attributes:
        image: the photo's name; ``change``, ``removed`` or ``relabelled``.
        label: the label that it had; ``now``, the one that it has, empty where it was removed.
    """

    image: str
    change: str
    label: str
    now: str
    reason: str


def changes(
    entries: Sequence[Entry],
    copied: Sequence[Copies],
    issues: Sequence[Issue],
    judged: Mapping[str, Judged],
    *,
    own_split: bool,
) -> list[Change]:
    """What to change, each photo once, in the order of ``entries``.

    Blank photos go. Of one photograph a single copy stays: of the test part, where the data has a split of its own, and
    under the label that ``judged`` (by the photos' names) supports, where there are several; those that may be two
    things stay. Labels that are probably wrong are replaced where another is sure enough, or else the photo goes.
    """
    found: dict[str, Change] = {}

    def change(entry: Entry, now: str, reason: str) -> None:
        kind = RELABELLED if now else REMOVED
        found.setdefault(entry.image, Change(entry.image, kind, entry.label, now, reason))

    by_name = {entry.image: entry for entry in entries}
    for issue in issues:
        if issue.kind == "blank" and issue.photo in by_name:
            change(by_name[issue.photo], "", f"blank: {issue.detail}")
    for one in copied:
        members = [by_name[image] for image in one.images if image in by_name and image not in found]
        labels = sorted({entry.label for entry in members})
        if len(labels) > 1 and min(one.likeness) < CERTAIN:
            continue
        if len(labels) > 1:
            right = _supported(members, judged)
            for entry in members:
                if entry.label != right:
                    others = ", ".join(repr(label) for label in labels if label != entry.label)
                    change(entry, "", f"conflict: the same photograph is also labelled {others}")
            members = [entry for entry in members if entry.label == right]
        if own_split and any(entry.split == "test" for entry in members):
            members.sort(key=lambda entry: entry.split != "test")
        for entry in members[1:]:
            change(entry, "", f"copy: the same photograph as {members[0].image}")
    for issue in issues:
        if issue.kind == "label":
            entry, sure = by_name[issue.photo], judged[issue.photo]
            change(entry, sure.label if sure.probability >= SURE else "", f"label: {issue.detail}")
    return [found[entry.image] for entry in entries if entry.image in found]


def _supported(members: Sequence[Entry], judged: Mapping[str, Judged]) -> str:
    """The one of the members' labels that a model is sure of; empty where it is of none."""
    labels = {entry.label for entry in members}
    sure = {
        judged[entry.image].label
        for entry in members
        if entry.image in judged and judged[entry.image].probability >= SURE
    }
    return next(iter(sure)) if len(sure) == 1 and sure <= labels else ""
