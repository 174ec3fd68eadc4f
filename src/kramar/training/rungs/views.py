"""Rung 2: the head on several views of each photo, and what several views of a photo know taught to one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold

from kramar.data.manifest import Entry
from kramar.decisions.calibration import log_loss, probabilities
from kramar.exporting import onnx_file
from kramar.models import maps, staged
from kramar.models.engines import Opened
from kramar.models.linear import Linear
from kramar.models.squares import roomy
from kramar.records import HeadRecord
from kramar.training.climb import VERIFIED, Climbed, Ground, Learnt, Step
from kramar.training.head import Part, fit_head, fit_taught
from kramar.training.rungs.tail import CACHING, RECIPE
from kramar.training.views import Views

MOST_VIEWS, FEWEST_VIEWS = 4, 2
# Averaging views must lower the log loss to this share before it is taught to the head of one.
PAYS = 0.99
# The part of a taught head's targets that is the label.
LABELS = 0.5
_FOLDS = 3
# A fit of all views, in seconds a million numbers: by which the whole rung was expected to take 114 s on Grocery's 81
# classes, and took 84 s (docs/benchmarks.md). More classes take longer.
_SECONDS_A_MILLION, _CLASSES = 1.4, 81
_FIXED_SECONDS = 5.0


class ViewsRung:
    """The head of the first backbone, fitted on all views; the tail learns from the same views later."""

    key = rung = "views"

    def __init__(self, ground: Ground, opener: Callable[[], Opened]) -> None:
        self._ground, self._opener = ground, opener

    @cached_property
    def _opened(self) -> Opened:
        return self._opener()

    @cached_property
    def _views(self) -> Views:
        opened = self._opened
        body = staged.load(opened.backbone)
        shape = body.shapes[body.joined - 1]
        return Views(
            opened.backbone, opened.converted, opened.choice, body.joined, shape, RECIPE.augment, RECIPE.strength
        )

    def plan(self, seconds: float, climbed: Mapping[str, Climbed]) -> Step:
        """As many views as there is time for."""
        del climbed
        ground, opened = self._ground, self._opened
        caching = CACHING * opened.choice.rates[opened.choice.engine]
        photos = {part: len(entries) for part, entries in ground.material.parts.items()}
        both, rule = [*ground.material.parts["train"], *ground.material.parts["val"]], opened.backbone.resize
        a_view = len(both) / caching + ground.decoding(both, roomy(rule), again=True)
        a_view += photos["train"] * opened.backbone.width / 1e6 * _SECONDS_A_MILLION * max(1, ground.classes / _CLASSES)
        fixed = _FIXED_SECONDS + (2 * photos["val"] + photos["test"]) / caching
        fixed += ground.decoding(both, rule) + ground.decoding(both, roomy(rule))
        room = int(ground.cache_size / maps.bytes_of(self._views.shape) / max(1, len(both)))
        count = min(MOST_VIEWS, int((seconds - fixed) / a_view), room)
        if room < FEWEST_VIEWS:
            return Step(do=False, why=f"no room: {FEWEST_VIEWS} views of all photos take more than --cache-size")
        if count < FEWEST_VIEWS:
            least = fixed + FEWEST_VIEWS * a_view
            return Step(
                do=False, why=f"no time: it takes at least {least:.0f} s, {max(0.0, seconds):.0f} s are left for it"
            )
        return Step(do=True, expected=fixed + count * a_view, numbers={"views": count})

    def climb(self, step: Step, climbed: Mapping[str, Climbed]) -> Climbed:
        """Look at views, fit the head on all, teach it what they know together if that is more."""
        del climbed
        ground, opened, views = self._ground, self._opened, self._views
        count = int(step.numbers["views"])
        train, val = ground.material.parts["train"], ground.material.parts["val"]
        needed = views.bytes * count * (len(train) + len(val))
        both = [*train, *val]
        missing = views.bytes * sum(len(views.missing(both, view)) for view in range(count))
        with maps.room_for(views.name, needed, missing, int(ground.cache_size)):
            views.fill(both, range(count), ground.progress, ground.stopped)
        shown = [views.embeddings(train, view) for view in range(count)]
        every = self._part(train, np.concatenate(shown), count)
        held_out = self._part(val, views.embeddings(val, 0), 1)
        head, how = fit_head(
            every, held_out, ground.classes, ground.seed, ground.progress, deadline=time.monotonic() + ground.left()
        )
        note = f"a linear layer on {count} views of each photo"
        truth = np.array(ground.material.truth("val"), np.int64)
        known = truth >= 0
        if known.any():
            together = np.mean(
                [probabilities(head(views.embeddings(val, view)), how.temperature) for view in range(count)], axis=0
            )
            alone = log_loss(head(held_out.embeddings)[known], truth[known], how.temperature)
            averaged = log_loss(np.log(np.maximum(together, 1e-12))[known], truth[known])
            if averaged < PAYS * alone:
                taught = self._taught(every, shown, how)
                better = log_loss(taught(held_out.embeddings)[known], truth[known], how.temperature)
                if better < alone:
                    head, note = taught, f"{note}, taught what they know together"
        logits = head(held_out.embeddings) if val else np.zeros((0, ground.classes), np.float32)
        _, metrics = ground.judged(logits, how.temperature)
        proof = val or train[:VERIFIED]
        path = ground.model_file(self.key)
        verification = onnx_file.write(
            opened.converted.path,
            head,
            ground.card(
                resize=opened.backbone.resize,
                temperature=how.temperature,
                backbone=opened.backbone.name,
                rung=self.rung,
                storage="float32",
                val=metrics,
            ),
            path,
            [entry.photo for entry in proof],
            probabilities(head(views.embeddings(proof, 0)), how.temperature),
            ground.progress,
        )
        learnt = Learnt(
            key=self.key,
            rung=self.rung,
            backbone=opened.backbone.name,
            how=note,
            expected=step.expected,
            temperature=how.temperature,
            val=metrics,
            verification=verification,
            head=how,
        )
        return ground.leave(learnt, logits, step)

    def _part(self, entries: Sequence[Entry], embeddings: npt.NDArray[np.float32], times: int) -> Part:
        truth = np.array(self._ground.material.numbers(entries), np.int64)
        return Part(embeddings, np.tile(truth, times), [entry.group for entry in entries] * times)

    def _taught(self, every: Part, shown: Sequence[npt.NDArray[np.float32]], how: HeadRecord) -> Linear:
        """A head that says of each view what all views of its photo say together, and the label.

        What is said of a photo comes from heads that were fitted without it: of photos that it learnt from, a head says
        no more than their labels.
        """
        classes, count, photos = self._ground.classes, len(shown), len(shown[0])
        together = np.zeros((photos, classes))
        groups = every.groups[:photos]
        folds = min(_FOLDS, len(set(groups)))
        for learnt, held in GroupKFold(folds).split(shown[0], every.truth[:photos], groups):
            rows = np.concatenate([learnt + view * photos for view in range(count)])
            part = Part(every.embeddings[rows], every.truth[rows], [every.groups[row] for row in rows])
            one_hot = np.eye(classes)[part.truth]
            head = fit_taught(part, one_hot, how, classes)
            together[held] = np.mean([probabilities(head(view[held]), how.temperature) for view in shown], axis=0)
        targets = LABELS * np.eye(classes)[every.truth] + (1 - LABELS) * np.tile(together, (count, 1))
        return fit_taught(every, targets, how, classes)
