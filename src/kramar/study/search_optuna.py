"""A search as Optuna sees it: made anew in memory from the trials each time that something is asked of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from kramar.files import replacing
from kramar.records import Epoch
from kramar.study.search_records import Known
from kramar.study.search_space import Point, Space, shown_as
from kramar.training.seeds import derived

STUDY_NAME = "kramar"
# Drawn at random before the sampler has enough to go by: a fifth of the trials, trial 0 among them, within these. Axes
# are centred on the start, so that little is needed.
_LEAST_RANDOM, _MOST_RANDOM = 4, 10
# Trials that must have been trained to the end before any is stopped: a fifth of them, within these. A median of fewer
# would be that of the start, which most trials are slower than at first.
_LEAST_UNPRUNED, _MOST_UNPRUNED = 2, 5
# The share of a training in which a slow start is no reason to stop: the learning rate is still high then.
_GRACE = 0.3
# The best quarter is told from all others: of 30 trials, a tenth (Optuna's default) would be three.
_BEST_SHARE = 0.25
# Fewer finished trials say nothing of what matters.
_FEWEST_FOR_IMPORTANCE = 8
_LARGEST_SEED = 2**32
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


def proposed(space: Space, known: Sequence[Known], trials: int) -> Point:
    """The point of the next of ``trials``: it depends on those before it and on the seed, and on nothing else."""
    random = min(_MOST_RANDOM, max(_LEAST_RANDOM, trials // 5))
    seed = derived(space.base.seed, len(known)) % _LARGEST_SEED
    return _study(space, known, sampler=TPESampler(seed=seed, n_startup_trials=random)).ask(dict(space.axes)).params


class Pruning:
    """Whether a trial is worth going on with, beside the ``known`` ones of as many as ``trials``."""

    def __init__(self, space: Space, known: Sequence[Known], trials: int) -> None:
        unpruned = min(_MOST_UNPRUNED, max(_LEAST_UNPRUNED, trials // 5))
        grace = max(1, math.ceil(_GRACE * space.base.recipe.epochs))
        pruner = MedianPruner(n_startup_trials=unpruned, n_warmup_steps=grace)
        self._trial = _study(space, known, pruner=pruner).ask()
        self._told = 0

    def weak(self, epochs: Sequence[Epoch]) -> bool:
        """Whether, after these epochs, its best accuracy is below the median of the others' at the same epoch."""
        for step, accuracy in list(_accuracies(epochs).items())[self._told :]:
            self._trial.report(accuracy, step)
        self._told = len(epochs)
        return bool(epochs) and self._trial.should_prune()


def importance(space: Space, known: Sequence[Known]) -> dict[str, float]:
    """How much each parameter has to do with being among the best quarter of trials (PED-ANOVA), summing to 1.

    Pruned trials count with the accuracy they had: that they are not among the best is what they were stopped for.
    Empty where fewer than eight trials came to any, or where all are alike. (Watanabe, Bansal and Hutter 2023,
    arXiv:2304.10255)
    """
    scored = [one for one in known if one.outcome and one.outcome.value is not None]
    values = sorted(one.outcome.value for one in scored if one.outcome and one.outcome.value is not None)
    if len(values) < _FEWEST_FOR_IMPORTANCE or values[0] == values[-math.ceil(_BEST_SHARE * len(values))]:
        return {}
    with _quiet():
        study = optuna.create_study(direction="maximize")
    study.add_trials([_frozen(space, one, TrialState.COMPLETE) for one in scored])
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=_BEST_SHARE))
    return {shown_as(axis): share for axis, share in found.items()}


def write_study(space: Space, known: Sequence[Known], path: Path) -> None:
    """The trials as an Optuna journal, for Optuna's own tools. Raises OutputError."""
    with replacing(path) as temporary:
        _study(space, known, storage=JournalStorage(JournalFileBackend(str(temporary))))


def _study(
    space: Space,
    known: Sequence[Known],
    *,
    sampler: TPESampler | None = None,
    pruner: MedianPruner | None = None,
    storage: BaseStorage | None = None,
) -> optuna.Study:
    """Values are accuracies, and so are those of the epochs."""
    with _quiet():
        study = optuna.create_study(
            direction="maximize", sampler=sampler, pruner=pruner, storage=storage, study_name=STUDY_NAME
        )
    study.add_trials([_frozen(space, one) for one in known])
    return study


def _frozen(space: Space, one: Known, state: TrialState | None = None) -> FrozenTrial:
    outcome = one.outcome
    state = state or (_STATES[outcome.state] if outcome else TrialState.RUNNING)
    value = outcome.value if outcome and state in (TrialState.COMPLETE, TrialState.PRUNED) else None
    return create_trial(
        state=state,
        value=value,
        params=one.proposal.point,
        distributions=dict(space.axes),
        intermediate_values=_accuracies(outcome.epochs) if outcome else {},
    )


def _accuracies(epochs: Sequence[Epoch]) -> dict[int, float]:
    return {epoch.number: epoch.val_accuracy or 0.0 for epoch in epochs}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's remarks on studies that it makes in memory."""
    logger = logging.getLogger("optuna")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
