"""What one ``kramar learn`` does between the review queue and the model file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from kramar.decisions import fitting, unknowns
from kramar.decisions.calibration import fit_temperature, probabilities
from kramar.decisions.fitting import Asked
from kramar.decisions.unknowns import Familiar
from kramar.errors import DataError, ExportError, FailedError, InputError
from kramar.evaluation import paired
from kramar.evaluation.metrics import SMALLEST, Scored, score, wilson
from kramar.exporting import fingerprints, last_layer
from kramar.exporting.onnx_file import TOLERANCE
from kramar.jobs.corrected import Corrected, corrected
from kramar.jobs.learnings import Learning
from kramar.jobs.seen import Seen
from kramar.models.linear import Linear
from kramar.progress import Progress
from kramar.records import Decisions, ModelCard
from kramar.reviewing import findings
from kramar.reviewing.database import Database
from kramar.runtime.model import Model
from kramar.runtime.session import any_photo
from kramar.training.head import Part
from kramar.training.material import ASIDE
from kramar.training.relearn import Relearning, Setting
from kramar.training.rungs.copies import MOST_LOST
from kramar.version import __version__

# Validation photos that say how much that is new is usual, in unknown scores.
_HELD = 300
# What an unknown score that the file computes may differ by, of the largest: decisions are rounded to a thousandth.
_SCORE_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Task:
    """What there is to learn with.

    Attributes:
        model: the file as it is.
        base: the one whose last layer was trained, and whose body is the same.
        body: names that body.
    """

    model: Model
    base: Model
    body: str
    queue: Database
    seen: Seen


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A layer, its temperature, and what it says of the validation photos."""

    setting: Setting
    layer: Linear
    temperature: float
    val: Scored


def made(task: Task, target: Path, listener: Progress) -> Learning:
    """Write what has learnt to ``target``; what was learnt, but for the names of files.

    Raises InputError where nothing decided teaches, FailedError where what is learnt makes it worse.
    """
    base, seen = task.base, task.seen
    taught = corrected(
        base,
        task.body,
        findings.corrections(task.queue),
        findings.categories(task.queue),
        seen.held,
        partial(findings.content, task.queue),
        listener,
    )
    for why, count in taught.left_out.items():
        listener.say(f"Left out of {task.queue.name}: {count:,} {why}")
    if not len(taught.part.truth):
        raise InputError(f"{task.queue.name}: nothing is decided that the model could learn from; review photos first")
    labels = [one.label for one in taught.classes]
    again = set(taught.hashes)
    hashes = [hash_ for hash_, _, _ in seen.entries["train"]]
    train = _some(seen.part("train", labels), [hash_ not in again for hash_ in hashes]).known()
    val = seen.part("val", labels).known()
    if not len(val.truth):
        raise DataError(f"{base.path}: its data has no validation photos, on which it could show not to become worse")
    old = Relearning(last_layer.read(base.path), base.card.temperature, train, taught.part, val, len(labels))
    with listener.stage("Learning", 1) as advance:
        settings = old.settings(base.card.seed)
        advance(1)
    before = _before(task)
    candidate = _not_worse([_candidate(task, old.layer(one), one, val, labels) for one in settings], before, task)
    familiar = _familiar(task, train, taught, val)
    card = _card(task, taught, candidate, familiar, listener)
    last_layer.replace(base.path, candidate.layer, card, target, familiar)
    _verify(target, task, candidate, familiar, labels)
    groups = candidate.val.groups
    right, was = candidate.val.right, before.right
    decisions = card.decisions
    return Learning(
        model="",
        before="",
        after="",
        layer="",
        learnt=len(taught.hashes),
        changed=taught.changed,
        left_out=taught.left_out,
        categories=labels[len(base.card.classes) :],
        regularisation=candidate.setting.regularisation,
        weight=candidate.setting.weight,
        accuracy=(wilson(int(was.sum()), len(was)), wilson(int(right.sum()), len(right))),
        difference=paired.difference(right, was, groups, base.card.seed),
        p=paired.permutation(right, was, groups, base.card.seed),
        log_loss=(_log_loss(before, before), _log_loss(candidate.val, before)),
        temperature=candidate.temperature,
        guaranteed=decisions is not None and decisions.auto.guaranteed,
        auto=None if decisions is None else decisions.auto.threshold,
        seconds=0.0,
    )


def _some(part: Part, keep: list[bool]) -> Part:
    places = np.flatnonzero(keep)
    return Part(part.embeddings[places], part.truth[places], [part.groups[place] for place in places.tolist()])


def _scored(task: Task, part: str, labels: list[str], layer: Linear, temperature: float) -> Scored:
    """What a layer says of a part's photos."""
    entries = task.seen.entries[part]
    said = probabilities(layer(task.seen.embeddings[part]), temperature)
    return Scored.of(said, [label for _, label, _ in entries], labels, [group for _, _, group in entries])


def _before(task: Task) -> Scored:
    """What the model file as it is says of the validation photos; it may have learnt other categories."""
    model = task.model
    return _scored(task, "val", model.classes, last_layer.read(model.path), model.card.temperature)


def _candidate(task: Task, layer: Linear, setting: Setting, val: Part, labels: list[str]) -> _Candidate:
    """A layer as the file will store it, calibrated on validation photos."""
    layer = last_layer.stored(layer, task.base.path)
    temperature = fit_temperature(layer(val.embeddings), val.truth)
    return _Candidate(setting, layer, temperature, _scored(task, "val", labels, layer, temperature))


def _not_worse(candidates: list[_Candidate], before: Scored, task: Task) -> _Candidate:
    """The best setting's that is not worse. Raises FailedError where none is."""
    shares = []
    for one in candidates:
        difference = paired.difference(one.val.right, before.right, before.groups, task.base.card.seed)
        p = paired.permutation(one.val.right, before.right, before.groups, task.base.card.seed)
        if difference.value >= -MOST_LOST and not (p <= paired.LEVEL and difference.value < 0):
            return one
        shares.append(difference.value)
    raise FailedError(
        f"{task.model.path}: what it would learn makes it worse on the {len(before.truth):,} validation photos, "
        f"by {-100 * max(shares):.1f} points of accuracy at least (at most {100 * MOST_LOST:g}); nothing was changed. "
        "Look through what was decided, or train anew with these photos"
    )


def _familiar(task: Task, train: Part, taught: Corrected, val: Part) -> Familiar | None:
    """What tells unknown photos, with those that were decided; None where the file has no such score."""
    rank = last_layer.directions(task.base.path)
    if not rank:
        return None
    embeddings = np.concatenate([train.embeddings, taught.part.embeddings])
    truth = np.concatenate([train.truth, taught.part.truth])
    held = val.embeddings[:: max(1, len(val.truth) // _HELD)]
    return unknowns.fit(embeddings, truth, rank, held if len(held) > 1 else embeddings)


def _card(
    task: Task, taught: Corrected, candidate: _Candidate, familiar: Familiar | None, listener: Progress
) -> ModelCard:
    """The card of what has learnt. Figures of the test photos were the old layer's, and are left out."""
    base = task.base.card
    labels = [one.label for one in taught.classes]
    part = ASIDE if len(task.seen.entries[ASIDE]) else "val"
    by = _scored(task, part, labels, candidate.layer, candidate.temperature)
    if familiar is not None:
        unknown = familiar(task.seen.embeddings[part], by.confidence)
        by = Scored(by.probabilities, by.truth, by.labels, by.classes, by.groups, unknown)
    decisions = None
    if base.decisions is not None:
        fit = fitting.promised if part == ASIDE else fitting.estimated
        paths = [one.category for one in taught.classes]
        decisions = fit(by, paths, _asked(task.model.card.decisions or base.decisions), base.seed)
        promised = task.model.card.decisions
        if promised is not None and promised.auto.guaranteed and not decisions.auto.guaranteed:
            listener.say(
                "Warning: the precision of auto was guaranteed of the layer before; of this one it is estimated, until "
                "kramar decide fits it on photos that it has not seen"
            )
    return base.model_copy(
        update={
            "kramar": __version__,
            "classes": taught.classes,
            "temperature": candidate.temperature,
            "metrics": {"val": score(candidate.val, base.seed)},
            "decisions": decisions,
            "corrections": len(taught.hashes),
        }
    )


def _asked(decisions: Decisions) -> Asked:
    """What the file promises."""
    return Asked(
        decisions.precision_target,
        decisions.set_coverage,
        by_class=bool(decisions.auto_by_class),
        class_sets=bool(decisions.set_least_by_class),
    )


def _verify(target: Path, task: Task, candidate: _Candidate, familiar: Familiar | None, labels: list[str]) -> None:
    """Raise ExportError where the file at ``target`` does not say what was judged, or sees other than before."""
    if fingerprints.body(target) != task.body:
        raise ExportError("the file that has learnt sees photos otherwise; it was not kept. Please report this")
    model = Model(target)
    names = ["probabilities", "logits", *(["unknown_score"] if familiar else [])]
    embeddings = task.seen.embeddings["val"]
    said, _, *unknown = last_layer.outputs_of(target, embeddings, names)
    judged = candidate.val.probabilities
    gap = float(np.abs(said - judged).max())
    best = np.sort(judged, axis=1)[:, -2:]
    differ = (said.argmax(axis=1) != judged.argmax(axis=1)) & (best[:, 1] - best[:, 0] > TOLERANCE)
    if differ.any() or not gap <= TOLERANCE or model.classes != labels:
        raise ExportError(
            f"the file that has learnt differs from what was judged on {int(differ.sum())} of {len(judged)} labels "
            f"and by up to {gap:.2g} in probability; it was not kept. Please report this"
        )
    if familiar is not None:
        expected = familiar(embeddings, candidate.val.confidence)
        apart = float(np.abs(unknown[0] - expected).max())
        if not apart <= _SCORE_TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise ExportError(
                f"the file that has learnt gives other unknown scores (by up to {apart:.2g}); it was not kept. "
                "Please report this"
            )
    if not np.isfinite(model.scores(any_photo(model.card.resize.size))).all():
        raise ExportError("the file that has learnt gives no probabilities; it was not kept. Please report this")


def _log_loss(scored: Scored, before: Scored) -> float:
    """In nats, of the photos whose classes were known before."""
    known = np.flatnonzero(before.truth >= 0)
    own = scored.probabilities[known, scored.truth[known]]
    return float(-np.log(np.maximum(own, SMALLEST)).mean())
