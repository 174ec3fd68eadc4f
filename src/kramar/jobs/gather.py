"""The data of a run: listed, hashed, split, and what the user should know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kramar.auditing.gate import Passed, all_issues, look_over, summary
from kramar.auditing.issues import Issue
from kramar.config import TrainConfig
from kramar.data import manifest, split
from kramar.data.listing import refuse
from kramar.data.manifest import Entry
from kramar.data.sources import list_photos
from kramar.progress import Progress
from kramar.records import DataRecord, LeftOut


@dataclass(frozen=True, slots=True)
class Gathered:
    """The data, split, before any photo is decoded."""

    entries: list[Entry]
    left_out: list[LeftOut]
    warnings: list[str]
    split_from: str
    fingerprint: str
    ties: list[list[str]]
    issues: list[Issue]

    def record(
        self, source: Path, entries: Sequence[Entry], left_out: Sequence[LeftOut], warnings: Sequence[str]
    ) -> DataRecord:
        """The data of which ``entries`` were used, and what was left out and warned of, by all rooms."""
        counts = Counter(entry.split for entry in entries)
        return DataRecord(
            source=str(source),
            photos=len(entries),
            classes=len(manifest.require_classes(entries, source)),
            fingerprint=self.fingerprint,
            split={part: counts[part] for part in split.PARTS},
            split_from=self.split_from,
            left_out={"unreadable": 0, **Counter(item.kind for item in left_out)},
            left_out_files=list(left_out),
            warnings=list(warnings),
        )


def gather(source: Path, config: TrainConfig, listener: Progress) -> Gathered:
    """List, hash and split the photos in ``source``. Raises DataError."""
    listing = list_photos(source, config.columns)
    listed, unopened = manifest.hash_photos(listing, listener)
    looked = not config.skip_audit
    passed = look_over(listed, listener, config.budget) if looked else Passed(manifest.tied(listed, ()), [], [])
    entries = split.assign(passed.entries, config.seed)
    issues = all_issues(passed, entries, own_split=bool(listing.split_from)) if looked else []
    left_out = [*listing.left_out, *unopened]
    if config.strict:
        refuse(left_out, source)
    manifest.require_classes(entries, source)
    warnings = [
        *listing.warnings,
        *manifest.warnings(entries),
        *split.warnings(entries, own_split=bool(listing.split_from)),
    ]
    if passed.warning:
        warnings.append(passed.warning)
    if issues:
        listener.say(f"Audit: {summary(issues)} (kramar audit {source} shows them)")
    for warning in warnings:
        listener.say(f"Warning: {warning}")
    return Gathered(
        entries,
        left_out,
        warnings,
        listing.split_from or "kramar",
        manifest.fingerprint(entries),
        manifest.ties(listed, [one.images for one in passed.copied]),
        issues,
    )


def categories(entries: Sequence[Entry]) -> dict[str, str]:
    """The category path of each label: its most frequent one."""
    seen: dict[str, Counter[str]] = {}
    for entry in entries:
        seen.setdefault(entry.label, Counter())[entry.category] += 1
    return {label: min(counts, key=lambda path: (-counts[path], path)) for label, counts in seen.items()}
