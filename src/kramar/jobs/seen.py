"""What a model saw of its run's photos: kept in the run folder, so that learning from corrections takes seconds."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from kramar.data import manifest
from kramar.data.manifest import Entry
from kramar.data.sources import list_photos
from kramar.data.split import aside, assign, elsewhere
from kramar.errors import DataError
from kramar.files import replacing
from kramar.jobs.scores import readable_outputs
from kramar.progress import Progress
from kramar.runtime.model import Model
from kramar.runtime.session import Scores
from kramar.training.budget import some
from kramar.training.head import Part
from kramar.training.material import ASIDE

NAME = "seen.npz"
# Training photos at most: more tell little, and take long to look at.
SHOWN = 3000
_PARTS = ("train", "val", ASIDE)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen, by part.

    Attributes:
        body: names what gave the embeddings (`exporting.fingerprints.body`).
        entries: the photos of ``train`` (some of them), ``val`` and ``aside``: hash, label and group each.
        embeddings: of the same, float32 ``[N, D]``.
        held: hashes of all photos that nothing may be learnt from, those of the test part among them.
    """

    body: str
    entries: Mapping[str, Sequence[tuple[str, str, str]]]
    embeddings: Mapping[str, Scores]
    held: frozenset[str]

    @classmethod
    def of(cls, body: str, entries: Mapping[str, Sequence[Entry]], embeddings: Mapping[str, Scores]) -> Self:
        """Of photos by part; those of parts without embeddings are only ``held``."""
        held = frozenset(one.hash for part, some in entries.items() if part != "train" for one in some)
        told = {part: [(one.hash, one.label, one.group) for one in entries[part]] for part in _PARTS}
        return cls(body, told, {part: embeddings[part] for part in _PARTS}, held)

    def part(self, name: str, classes: Sequence[str]) -> Part:
        """The photos of a part with the numbers of their classes, -1 for a label that is none."""
        index = {label: number for number, label in enumerate(classes)}
        truth = [index.get(label, -1) for _, label, _ in self.entries[name]]
        return Part(self.embeddings[name], np.array(truth, np.int64), [group for _, _, group in self.entries[name]])

    def write(self, path: Path) -> None:
        """To one file. Those of training photos are rounded to float16, since decisions do not rest on them."""
        arrays: dict[str, object] = {"body": np.array(self.body), "held": np.array(sorted(self.held), np.str_)}
        for part in _PARTS:
            rows = np.array(self.entries[part], np.str_).reshape(-1, 3)
            arrays[f"{part}.photos"] = rows
            arrays[f"{part}.embeddings"] = self.embeddings[part].astype(np.float16 if part == "train" else np.float32)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # it takes arrays by any name

    @classmethod
    def read(cls, path: Path, body: str) -> Self | None:
        """What a file holds of this ``body``; None where there is none such, or it is broken."""
        try:
            with np.load(path, allow_pickle=False) as kept:
                if str(kept["body"]) != body:
                    return None
                return cls(
                    body,
                    {part: [tuple(row) for row in kept[f"{part}.photos"].tolist()] for part in _PARTS},
                    {part: kept[f"{part}.embeddings"].astype(np.float32) for part in _PARTS},
                    frozenset(kept["held"].tolist()),
                )
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None


def look(model: Model, body: str, source: Path, columns: Mapping[str, str], listener: Progress) -> Seen:
    """See the photos in ``source``, which the model was trained on, anew. Raises DataError where it was on others."""
    hashed, _ = manifest.hash_photos(list_photos(source, dict(columns)), listener)
    card = model.card
    entries = assign(manifest.retied(hashed, card.ties), card.seed)
    if manifest.fingerprint(entries) != card.data_fingerprint:
        raise DataError(
            f"{source}: expected the photos that {model.path} was trained on, found others, or changed ones; "
            "give the right ones with --data"
        )
    val = [entry for entry in entries if entry.split == "val"]
    kept = aside(val, card.seed, elsewhere(entries, "val")) if card.aside else [False] * len(val)
    parts = {
        "train": some([entry for entry in entries if entry.split == "train"], SHOWN),
        "val": [entry for entry, away in zip(val, kept, strict=True) if not away],
        ASIDE: [entry for entry, away in zip(val, kept, strict=True) if away],
    }
    shown = [entry for part in _PARTS for entry in parts[part]]
    looked, unread = readable_outputs(model, ["embedding"], shown, listener)
    if len(unread) == len(shown):
        raise DataError(f"{source}: none of its photos can be read, the first: {next(iter(unread.values()))}")
    if unread:
        # Training left them out too.
        listener.say(f"Left out: {len(unread)} unreadable, the first: {next(iter(unread))}")
        parts = {part: [entry for entry in some_of if entry.image not in unread] for part, some_of in parts.items()}
    (found,) = looked
    ends = np.cumsum([len(parts[part]) for part in _PARTS])[:-1]
    embeddings = dict(zip(_PARTS, np.split(found, ends), strict=True))
    return Seen.of(body, {**parts, "test": [entry for entry in entries if entry.split == "test"]}, embeddings)
