"""What an audit finds, and its table ``issues.parquet``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kramar.errors import MissingExtra
from kramar.files import replacing
from kramar.records import Record

# Every kind of issue, the gravest first, and what it is called.
KINDS = {
    "conflict": "One photograph under different labels",
    "leak": "Test photos with a near twin in training or validation",
    "label": "Labels that are probably wrong",
    "duplicate": "Exact duplicates",
    "twin": "Near twins: one photograph, copied",
    "confused": "Classes that the photos hardly tell apart",
    "alike": "Class names that look alike",
    "small": "Classes that are too small",
    "imbalance": "Classes with far fewer photos than others",
    "unreadable": "Photos that cannot be read",
    "blank": "Blank photos",
    "dark": "Dark photos",
    "blurred": "Blurred photos",
    "tiny": "Tiny photos",
    "shape": "Extreme shapes",
    "animated": "Several pictures in one file",
    "extension": "Names that say another format",
}


class Issue(Record):
    """One thing that is wrong with a photo, or with a class.

    Attributes:
        photo: its name; empty where the issue is one of classes.
        kind: one of `KINDS`.
        score: how strong it is, in the kind's own unit; None where there is nothing to measure.
        group: what belongs together: photos of one photograph, or the classes concerned.
        suggestion: what to do, or the label that it probably has.
        detail: what was found, in words.
    """

    photo: str = ""
    kind: str
    score: float | None = None
    group: str = ""
    suggestion: str = ""
    detail: str = ""


def gravest_first(issues: Sequence[Issue]) -> list[Issue]:
    """In the order of their kinds."""
    order = {kind: place for place, kind in enumerate(KINDS)}
    return sorted(issues, key=lambda issue: order[issue.kind])


def write_issues(issues: Sequence[Issue], path: Path) -> None:
    """Write ``issues`` as Parquet, a row each. Raises OutputError."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtra("train", "an audit") from None
    types = {name: pa.float64() if name == "score" else pa.string() for name in Issue.model_fields}
    table = pa.table({name: pa.array([getattr(issue, name) for issue in issues], kind) for name, kind in types.items()})
    # By bytes, since Arrow cannot name a path that is not UTF-8.
    with replacing(path) as temporary, pa.OSFile(os.fsencode(temporary), "wb") as file:
        pq.write_table(table, file, compression="zstd")
