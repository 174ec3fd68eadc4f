"""The manifest: one row a photo, with its content hash."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kramar.config import cores
from kramar.data.listing import Listing, Photo, Row
from kramar.data.pixels import in_order
from kramar.errors import DataError, MissingExtra, PhotoError
from kramar.files import replacing
from kramar.progress import Progress
from kramar.records import LeftOut

_SHORT, _SAMPLE = 12, 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One photo of the manifest.

    Attributes:
        hash: the SHA-256 of its file's bytes in hexadecimal.
        bytes: how many those are.
        tied: what names the photos that belong together (`tied`), where it is with others.
    """

    image: str
    photo: Photo
    hash: str
    label: str
    category: str
    product: str
    split: str
    bytes: int = 0
    tied: str = ""

    @property
    def group(self) -> str:
        """What must not be cut by a split: photos that are tied, or else the product, or else the photo itself."""
        return self.tied or self.own_group

    @property
    def own_group(self) -> str:
        """The same as far as the photo itself tells."""
        return f"product:{self.product}" if self.product else self.hash


def hash_photos(listing: Listing, progress: Progress) -> tuple[list[Entry], list[LeftOut]]:
    """An entry for each listed photo that can be opened, in the listing's order, and those that cannot."""
    entries: list[Entry] = []
    left_out: list[LeftOut] = []

    def read(row: Row) -> tuple[str, int] | PhotoError:
        try:
            data = row.photo.read()
            return hashlib.sha256(data).hexdigest(), len(data)
        except PhotoError as error:
            return error

    seen: Counter[str] = Counter()
    with progress.stage("Reading photos", len(listing.rows)) as advance:
        hashes = in_order(read, listing.rows, threads=2 * cores(), ahead=256)
        for row, found in zip(listing.rows, hashes, strict=True):
            if isinstance(found, PhotoError):
                left_out.append(LeftOut(image=row.image, kind=found.kind, detail=str(found)))
            else:
                seen[row.image] += 1
                # Names are told to people and looked up by: a repeated one gets a number.
                name = row.image if seen[row.image] == 1 else f"{row.image}#{seen[row.image]}"
                entries.append(
                    Entry(name, row.photo, found[0], row.label, row.category, row.product, row.split, found[1])
                )
            advance(1)
    return entries, left_out


def tied(entries: Sequence[Entry], together: Iterable[Sequence[str]]) -> list[Entry]:
    """``entries`` whose groups hold the photos that are ``together``, by their names, and the products of those whole.

    The same photo under several products, byte for byte, ties those.

    A group is named by one of its own, so that a photo alone keeps its name, and its part of a split, until it is tied.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while (above := parent.get(key, key)) != key:
            parent[key] = parent.get(above, above)
            key = above
        return key

    own_group = {entry.image: entry.own_group for entry in entries}
    same: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        same[entry.hash].append(entry.image)
    for images in (*together, *same.values()):
        for image in images[1:]:
            first, second = sorted((root(own_group[images[0]]), root(own_group[image])))
            # "product:" sorts behind a hash: a product keeps its name, whatever is tied to one of its photos.
            parent[first] = second
    named = ((entry, root(entry.own_group)) for entry in entries)
    return [entry if name == entry.own_group else replace(entry, tied=name) for entry, name in named]


def ties(entries: Sequence[Entry], together: Iterable[Sequence[str]]) -> list[list[str]]:
    """The same ties by the first 12 digits of the photos' hashes, so that `retied` can tie them without their names."""
    short = {entry.image: entry.hash[:_SHORT] for entry in entries}
    groups = (sorted({short[image] for image in images}) for images in together)
    return sorted(group for group in groups if len(group) > 1)


def retied(entries: Sequence[Entry], known: Iterable[Sequence[str]]) -> list[Entry]:
    """``entries`` tied as `ties` says, as far as they are there."""
    images: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        images[entry.hash[:_SHORT]].append(entry.image)
    return tied(entries, [[image for short in group for image in images.get(short, ())] for group in known])


def keys(entries: Iterable[Entry]) -> set[str]:
    """The first 12 digits of the photos' hashes."""
    return {entry.hash[:_SHORT] for entry in entries}


def sample(entries: Iterable[Entry]) -> list[str]:
    """The smallest of `keys`: data that has a share s of the photos has none of these with a chance of (1 - s)^64."""
    return sorted(keys(entries))[:_SAMPLE]


def unread(entries: Iterable[Entry], errors: Mapping[str, PhotoError]) -> list[LeftOut]:
    """What to say of the entries whose photos, by hash, gave ``errors`` when they were decoded."""
    return [
        LeftOut(image=entry.image, kind=errors[entry.hash].kind, detail=str(errors[entry.hash]))
        for entry in entries
        if entry.hash in errors
    ]


def fingerprint(entries: Iterable[Entry]) -> str:
    """A name for the data: the same for the same photos and labels, whatever their order or paths."""
    lines = sorted("\0".join((e.hash, e.label, e.category, e.product, e.split)) for e in entries)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def warnings(entries: Sequence[Entry]) -> list[str]:
    """What the user should know of labels that look alike and photos that are there more than once."""
    said = []
    alike: dict[str, set[str]] = defaultdict(set)
    labels_of: dict[str, set[str]] = defaultdict(set)
    parts_of: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        alike[" ".join(entry.label.casefold().split())].add(entry.label)
        labels_of[entry.hash].add(entry.label)
        parts_of[entry.hash].add(entry.split)
    for spellings in alike.values():
        if len(spellings) > 1:
            shown = ", ".join(repr(label) for label in sorted(spellings))
            said.append(
                f"labels that differ only by case or spaces are kept apart: {shown}; rename one if they are the same"
            )
    if conflicting := {key for key, labels in labels_of.items() if len(labels) > 1}:
        first = next(entry.hash for entry in entries if entry.hash in conflicting)
        named = " and ".join(f"{e.image!r} ({e.label})" for e in entries if e.hash == first)
        said.append(
            f"{len(conflicting)} photo(s) are there more than once with different labels, the first {named}; "
            "keep the right one"
        )
    leaked = sum("test" in parts and len(parts) > 1 for parts in parts_of.values())
    if leaked:
        said.append(
            f"{leaked} test photo(s) are also in training or validation, byte for byte: the test figures flatter"
        )
    return said


def require_classes(entries: Sequence[Entry], data: Path) -> list[str]:
    """The classes to learn: labels of training photos, sorted. Raises DataError for fewer than two."""
    counts = Counter(entry.label for entry in entries if entry.split == "train")
    if len(counts) < 2:
        found = f"one class ({next(iter(counts))!r})" if counts else "none"
        raise DataError(
            f"{data}: expected training photos of at least two classes, found {found}; "
            "a folder needs one folder a class, a table one label a row"
        )
    return sorted(counts)


def write_manifest(entries: Sequence[Entry], path: Path) -> None:
    """Write the manifest as Parquet, a row a photo."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtra("train", "writing the manifest") from None
    names = ("image", "hash", "label", "category", "product", "split")
    table = pa.table({name: [getattr(entry, name) for entry in entries] for name in names})
    # By bytes, since Arrow cannot name a path that is not UTF-8.
    with replacing(path) as temporary, pa.OSFile(os.fsencode(temporary), "wb") as file:
        pq.write_table(table, file, compression="zstd")
