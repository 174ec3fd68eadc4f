"""What people decided, as photos to learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kramar.errors import PhotoError
from kramar.progress import Progress
from kramar.records import ClassCard
from kramar.reviewing.items import Place
from kramar.reviewing.records import ACCEPT, BAD_PHOTO, CATEGORY, UNKNOWN_THING, Correction, NewCategory
from kramar.runtime.model import Model
from kramar.runtime.session import Scores
from kramar.training.head import Part

# Why a decided photo teaches nothing.
OF_THE_DATA, OTHER_LABEL, GONE = "validation and test photos", "labels that the model does not have", "photos not found"
_TEACHES_NOTHING = {UNKNOWN_THING: "none of the categories", BAD_PHOTO: "bad photos"}


@dataclass(frozen=True, slots=True)
class Corrected:
    """Photos that people decided.

    Attributes:
        part: them, with numbers of ``classes``; ``hashes``, of the same.
        classes: the model's, and behind them those that people added and photos were decided to show.
        changed: how many show something else than the model had said.
        left_out: those that teach nothing, by why.
    """

    part: Part
    hashes: list[str]
    classes: list[ClassCard]
    changed: int
    left_out: dict[str, int]


def corrected(
    model: Model,
    body: str,
    found: Sequence[Correction],
    added: Sequence[NewCategory],
    held: frozenset[str],
    content: Callable[[int], bytes | None],
    listener: Progress,
) -> Corrected:
    """What a model may learn from the decided photos ``found``, none of which is ``held``.

    ``content`` gives the bytes of a photo where they are kept.
    What another body saw of a photo says nothing: such photos are seen anew, by their kept bytes or their files.
    """
    left_out: Counter[str] = Counter()
    extra = {one.label: one.category for one in added}
    known = {one.label for one in model.card.classes}
    usable: list[Correction] = []
    # In an order of their own: what is learnt is not to depend on who was asked first.
    for one in sorted(found, key=lambda one: one.sha256):
        if one.kind not in (ACCEPT, CATEGORY):
            left_out[_TEACHES_NOTHING[one.kind]] += 1
        elif one.sha256 in held:
            left_out[OF_THE_DATA] += 1
        elif one.label not in known and one.label not in extra:
            left_out[OTHER_LABEL] += 1
        else:
            usable.append(one)
    anew = _seen(model, [one for one in usable if one.body != body], content, listener)
    left_out[GONE] += sum(one.body != body and one.sha256 not in anew for one in usable)
    usable = [one for one in usable if one.body == body or one.sha256 in anew]
    new = sorted({one.label for one in usable} - known)
    classes = [*model.card.classes, *(ClassCard(label=label, category=extra[label]) for label in new)]
    index = {one.label: number for number, one in enumerate(classes)}
    embeddings = [one.embedding if one.body == body else anew[one.sha256] for one in usable]
    part = Part(
        np.array(embeddings, np.float32),
        np.array([index[one.label] for one in usable], np.int64),
        [one.sha256 for one in usable],
    )
    changed = sum(one.label != one.predicted for one in usable)
    return Corrected(part, list(part.groups), classes, changed, {why: n for why, n in left_out.items() if n})


def _seen(
    model: Model, found: Sequence[Correction], content: Callable[[int], bytes | None], listener: Progress
) -> Mapping[str, Scores]:
    """What the model sees of photos, by hash; without those that are gone, or changed since."""
    if not found:
        return {}
    seen: dict[str, Scores] = {}
    with listener.stage("Looking at decided photos", len(found)) as advance:
        photos = [_Kept(one, content) for one in found]
        told = model.stream_of(photos, lambda images: model.outputs(images, ["embedding"])[0])
        for photo, embedding in told:
            if not isinstance(embedding, PhotoError):
                seen[photo.correction.sha256] = embedding
            advance(1)
    return seen


@dataclass(frozen=True, slots=True)
class _Kept:
    """A decided photo's bytes, as they were when it was decided."""

    correction: Correction
    content: Callable[[int], bytes | None]

    def read(self) -> bytes:
        """See Photo."""
        one = self.correction
        return Place(one.sha256, self.content(one.photo), one.path).read()
