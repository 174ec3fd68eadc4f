"""The page of an audit: what was found, with pictures to look through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kramar.auditing.issues import KINDS, Issue
from kramar.auditing.record import AuditRecord
from kramar.report.album import ALBUM_BYTES, Album
from kramar.report.page import UNPRINTABLE, templates

# Of a kind, as many stand on the page; the rest is in issues.parquet.
SHOWN = 48
# What a reader is told of each kind.
ADVICE = {
    "conflict": "The same photograph is filed under several labels, so at least one of them is wrong.",
    "leak": "A copy of these test photos is learnt from, so they flatter the figures.",
    "label": "A model that did not learn from these photos is sure of something else. The surest come first.",
    "duplicate": "The same file, byte for byte. Copies say nothing new.",
    "twin": "Resized, recompressed, cropped, mirrored, marked or brighter: still the same photograph. A split by "
    "kramar never puts one copy into training and another into test.",
    "confused": "Photos of each are often taken for the other by models that did not learn from them.",
    "alike": "These may be one class, spelt in two ways.",
    "small": "Too few photos to learn a class from, or to test it.",
    "imbalance": "A class with few photos is guessed less often than it should be.",
    "unreadable": "These are left out of everything.",
    "blank": "One colour, or nearly: there is nothing to learn from.",
    "dark": "Hardly any light.",
    "blurred": "No edge is sharp.",
    "tiny": "Few pixels, where other photos have many.",
    "shape": "So long or so high that a model sees only the middle.",
    "animated": "Only the first picture is used.",
    "extension": "Some programs will refuse to open them.",
}


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One issue with the photo's label, its picture, and beside it the picture of what it is a copy of."""

    issue: Issue
    label: str
    uri: str | None
    beside: str | None


@dataclass(frozen=True, slots=True)
class Wall:
    """The issues of one kind: some of them shown, of ``total``; of classes where there are no photos."""

    kind: str
    title: str
    advice: str
    exhibits: list[Exhibit]
    total: int
    pictured: bool


def render_audit(
    record: AuditRecord,
    issues: Sequence[Issue],
    labels: Mapping[str, str],
    thumbnail: Callable[[str], bytes | None],
) -> str:
    """The audit's ``report.html``: one file that loads nothing from elsewhere.

    ``labels`` are those of the photos by their names, ``thumbnail`` as in `kramar.report.page.render`.
    """
    page = templates().get_template("audit.html.j2").render(record=record, walls=walls(issues, labels, thumbnail))
    return UNPRINTABLE.sub("\ufffd", page)


def walls(issues: Sequence[Issue], labels: Mapping[str, str], thumbnail: Callable[[str], bytes | None]) -> list[Wall]:
    """A wall for each kind that was found; all that show photos have the same room for pictures."""
    by_kind = {kind: [issue for issue in issues if issue.kind == kind] for kind in KINDS}
    pictured = [kind for kind, some in by_kind.items() if kind != "unreadable" and any(issue.photo for issue in some)]
    found = []
    for kind, some in by_kind.items():
        if not some:
            continue
        album = Album(thumbnail, ALBUM_BYTES // max(1, len(pictured)))
        exhibits = []
        for issue in some[:SHOWN]:
            uri = beside = None
            if kind in pictured:
                uri = album.picture(issue.photo)
                beside = album.picture(issue.group) if issue.group not in ("", issue.photo) else None
            exhibits.append(Exhibit(issue, labels.get(issue.photo, ""), uri, beside))
        found.append(Wall(kind, KINDS[kind], ADVICE[kind], exhibits, len(some), kind in pictured))
    return found
