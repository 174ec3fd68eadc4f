"""Rung 1: multinomial logistic regression on frozen features, its regularisation chosen on held-out photos."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kramar.decisions.calibration import fit_temperature, log_loss
from kramar.models.linear import Linear
from kramar.progress import Progress
from kramar.records import HeadRecord, Trial
from kramar.runtime.session import Scores

Indices = npt.NDArray[np.integer]

# Choices on fewer validation photos than this would follow chance: folds of training and validation decide then.
MIN_VALIDATION = 100
FOLDS = 5
# C is searched from here in steps of half a decade; embeddings are whitened first, so it suits any backbone.
START_C = 0.003
STEP = 10**0.5
MOST_STEPS = 6
# Of the identity in the within-class covariance, in mean variances; flat around 3 (benchmarks/whitening.py).
SHRINKAGE = 3.0
# Largest class over smallest, from which balanced weights are tried.
IMBALANCE = 3.0
# Balanced weights must lower the log loss to this share: less is chance, and costs the classes' true frequencies.
BALANCED_GAIN = 0.99
_BLOCK = 8192
# Multiply-adds a pass, up to which one thread is faster: joining threads costs more than they save (Grocery, 4e8:
# 0.7 s against 1.1 s on two cores).
_SMALL_FIT = 1e9


@dataclass(frozen=True, slots=True)
class Part:
    """Photos of one part: embeddings ``[N, D]``, class indices ``[N]`` (-1: not a training class), group keys."""

    embeddings: Scores
    truth: Indices
    groups: Sequence[str]

    def known(self) -> Part:
        """Only the photos of training classes."""
        keep = np.flatnonzero(self.truth >= 0)
        return Part(self.embeddings[keep], self.truth[keep], [self.groups[i] for i in keep.tolist()])


@dataclass(frozen=True, slots=True)
class _Fold:
    train: Part
    held_out: Part
    is_copy: bool = False


def fit_head(
    train: Part,
    val: Part,
    classes: int,
    seed: int,
    progress: Progress,
    *,
    deadline: float = math.inf,
    shrinkage: float = SHRINKAGE,
) -> tuple[Linear, HeadRecord]:
    """The head, fitted on ``train`` alone, and how it was chosen.

    The inverse regularisation C, the class weights and the temperature are those of the lowest log loss on the
    validation photos of training classes; with fewer than 100 of them, on out-of-fold scores of train and
    validation together, whole groups in one fold. No setting is tried after ``deadline`` (of ``time.monotonic``)
    but the first.
    """
    val = val.known()
    if len(val.truth) >= MIN_VALIDATION:
        chosen_on, folds = f"validation ({len(val.truth)} photos)", [_Fold(train, val)]
    else:
        both = join(train, val)
        folds = [_fold(both, one) for one in _folds(both, seed)]
        chosen_on = f"{len(folds)} folds of training and validation ({len(both.truth)} photos)"
        if not folds:
            folds, chosen_on = (
                [_Fold(train, train)],
                "the training photos themselves: too few to hold any out",
            )
    search = _Search(folds, classes, deadline, shrinkage)
    best = search.regularisation(progress)
    counts = np.bincount(train.truth, minlength=classes)
    if counts.max() >= IMBALANCE * counts[counts > 0].min() and search.has_time():
        balanced = search.trial(best.regularisation, "balanced")
        best = balanced if balanced.log_loss < BALANCED_GAIN * best.log_loss else best
    head = search.final(train, best)
    logits, truth = search.held_out(best)
    record = HeadRecord(
        regularisation=best.regularisation,
        class_weight=best.class_weight,
        chosen_on=chosen_on,
        temperature=fit_temperature(logits, truth),
        trials=search.trials,
    )
    return head, record


def out_of_fold(
    part: Part, classes: int, seed: int, progress: Progress, regularisation: float | None = None
) -> tuple[Scores, Indices]:
    """What heads say of photos that they did not learn from: logits ``[M, C]``, and the photos' places ``[M]``.

    Each photo is judged by a head that was fitted on the other folds, whole groups in one fold. C is that of the lowest
    log loss over all where no ``regularisation`` is given; with one, a fold is fitted after the other, in little
    memory. Left out are photos of classes that the other folds lack.
    """
    folds = _folds(part, seed)
    if not folds:
        return np.zeros((0, classes), np.float32), np.zeros(0, np.int64)
    rows = np.concatenate([held_out for _, held_out in folds])
    if regularisation is None:
        search = _Search([_fold(part, one) for one in folds], classes, math.inf, SHRINKAGE)
        logits, _ = search.held_out(search.regularisation(progress))
    else:
        said = []
        with progress.stage("Judging labels", len(folds)) as advance:
            for train, held_out in folds:
                head = _Fitter(_take(part, train), classes, SHRINKAGE, in_place=True).fit(regularisation, "none")
                said.append(head(part.embeddings[held_out]))
                advance(1)
        logits = np.concatenate(said)
    return logits.astype(np.float32), rows


def fit_taught(
    train: Part, targets: npt.NDArray[np.floating], how: HeadRecord, classes: int, *, shrinkage: float = SHRINKAGE
) -> Linear:
    """The head of ``how``'s strength that says ``targets``, probabilities ``[N, C]``, of the photos of ``train``.

    The same model as `fit_head`'s, its labels shares instead of classes: cross-entropy and an L2 penalty on whitened
    embeddings, by L-BFGS.
    """
    import torch

    fitter = _Fitter(train, classes, shrinkage)
    white = torch.from_numpy(np.ascontiguousarray(fitter.white, np.float32))
    said = torch.from_numpy(np.asarray(targets, np.float32))
    weights = torch.zeros(white.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=200, tolerance_change=1e-7, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimiser.zero_grad()
        fit = torch.nn.functional.cross_entropy(white @ weights + bias, said, reduction="sum")
        value = (how.regularisation * fit + 0.5 * (weights**2).sum()) / len(white)
        torch.autograd.backward(value)
        return value

    optimiser.step(step)  # type: ignore[no-untyped-call]
    return fitter.raw(weights.detach().numpy().astype(np.float64), bias.detach().numpy().astype(np.float64))


class _Search:
    """Tries settings on folds; a fold's next fit starts from its last one, which makes it several times faster."""

    def __init__(self, folds: Sequence[_Fold], classes: int, deadline: float, shrinkage: float) -> None:
        self._folds = folds
        self._classes = classes
        self._deadline = deadline
        self._shrinkage = shrinkage
        # Folds of many photos are copies of them, which are not needed once they are whitened.
        self._fitters = [_Fitter(fold.train, classes, shrinkage, in_place=fold.is_copy) for fold in folds]
        self._logits: dict[tuple[float, str], Scores] = {}
        self._heads: dict[tuple[float, str], Linear] = {}
        self.trials: list[Trial] = []

    def has_time(self) -> bool:
        """Whether another setting may be tried."""
        return time.monotonic() < self._deadline

    def regularisation(self, progress: Progress) -> Trial:
        """The best C without class weights: downhill from START_C, one way and then the other."""
        with progress.stage("Fitting the head", MOST_STEPS) as advance:
            best = self.trial(START_C, "none")
            advance(1)
            for factor in (STEP, 1 / STEP):
                moved = False
                while len(self.trials) < MOST_STEPS and self.has_time():
                    trial = self.trial(best.regularisation * factor, "none")
                    advance(1)
                    if trial.log_loss >= best.log_loss:
                        break
                    best, moved = trial, True
                if moved:
                    break
        return best

    def trial(self, c: float, class_weight: str) -> Trial:
        """Log loss (after its own temperature) and accuracy on the held-out photos of all folds."""
        logits = []
        for fold, fitter in zip(self._folds, self._fitters, strict=True):
            head = fitter.fit(c, class_weight)
            logits.append(head(fold.held_out.embeddings))
        self._heads[c, class_weight] = head
        scores = self._logits[c, class_weight] = np.concatenate(logits)
        truth = self._truth()
        loss = log_loss(scores, truth, fit_temperature(scores, truth))
        accuracy = float((scores.argmax(axis=1) == truth).mean())
        trial = Trial(regularisation=c, class_weight=class_weight, log_loss=loss, accuracy=accuracy)
        self.trials.append(trial)
        return trial

    def held_out(self, trial: Trial) -> tuple[Scores, Indices]:
        """The held-out logits ``[N, C]`` of a trial, and their classes ``[N]``."""
        return self._logits[trial.regularisation, trial.class_weight], self._truth()

    def final(self, train: Part, trial: Trial) -> Linear:
        """The head of ``trial`` on all of ``train``."""
        if self._folds[-1].train is train:
            return self._heads[trial.regularisation, trial.class_weight]
        return _Fitter(train, self._classes, self._shrinkage).fit(trial.regularisation, trial.class_weight)

    def _truth(self) -> Indices:
        return np.concatenate([fold.held_out.truth for fold in self._folds])


class _Fitter:
    """Fits heads on one set of photos, each starting from the last.

    Before the fit, embeddings are standardised and whitened by their covariance within classes (WCCN; Hatch,
    Kajarekar and Stolcke 2006), shrunk towards a multiple of the identity. The penalty then falls on directions
    in which photos of one class differ from each other (light, background, shop), not on those that tell classes
    apart. Both steps are linear and fold into the head.
    """

    def __init__(self, part: Part, classes: int, shrinkage: float, *, in_place: bool = False) -> None:
        """``in_place``: the part's embeddings are overwritten, instead of copied."""
        from sklearn.linear_model import LogisticRegression

        self._truth = part.truth
        self._classes = classes
        self._mean = part.embeddings.mean(axis=0, dtype=np.float64)
        self._whiten = whitening(part, self._mean, shrinkage)
        mean, whiten = self._mean.astype(np.float32), self._whiten.astype(np.float32)
        self._white = part.embeddings if in_place else np.empty(part.embeddings.shape, np.float32)
        for start in range(0, len(self._white), _BLOCK):
            self._white[start : start + _BLOCK] = (part.embeddings[start : start + _BLOCK] - mean) @ whiten
        self._model = LogisticRegression(warm_start=True, max_iter=300, tol=1e-3)

    def fit(self, c: float, class_weight: str) -> Linear:
        """The head for raw embeddings."""
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits

        self._model.set_params(C=c, class_weight="balanced" if class_weight == "balanced" else None)
        small = self._white.size * self._classes < _SMALL_FIT
        with warnings.catch_warnings(), threadpool_limits(1 if small else None):
            # A fit that stops early is judged on held-out photos like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.fit(self._white, self._truth)
        return self.raw(*self._coefficients(self._model))

    @property
    def white(self) -> npt.NDArray[np.floating]:
        """The part's embeddings, whitened, ``[N, D]``."""
        return np.asarray(self._white)

    def raw(self, weights: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]) -> Linear:
        """The head for raw embeddings that one of whitened ones amounts to."""
        weights = self._whiten @ weights
        return Linear(weights.astype(np.float32), (bias - self._mean @ weights).astype(np.float32))

    def _coefficients(self, model: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Weights ``[D, classes]`` and biases; a class that this fold's photos lack is never predicted."""
        weights, bias = model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)
        if weights.shape[1] == 1:
            # Two classes have one boundary; half of it on each side is the same softmax.
            weights, bias = np.hstack([-weights / 2, weights / 2]), np.concatenate([-bias / 2, bias / 2])
        full = np.zeros((weights.shape[0], self._classes))
        offset = np.full(self._classes, bias.min() - 20.0)
        full[:, model.classes_] = weights
        offset[model.classes_] = bias
        return full, offset


def whitening(part: Part, mean: npt.NDArray[np.float64], shrinkage: float) -> npt.NDArray[np.float64]:
    """``[D, D]``: standardises embeddings and evens out their spread within classes; mean variance 1 after it."""
    from scipy.linalg import solve_triangular

    width = part.embeddings.shape[1]
    within, total = np.zeros((width, width)), np.zeros((width, width))
    means = np.zeros((int(part.truth.max()) + 1, width), np.float32)
    for label in np.unique(part.truth):
        means[label] = part.embeddings[part.truth == label].mean(axis=0)
    # In blocks, so that no second copy of all embeddings is made.
    for start in range(0, len(part.truth), _BLOCK):
        block, truth = part.embeddings[start : start + _BLOCK], part.truth[start : start + _BLOCK]
        residuals, centred = block - means[truth], block - mean.astype(np.float32)
        within += residuals.T @ residuals
        total += centred.T @ centred
    scale = np.sqrt(np.diag(total) / len(part.truth)) + 1e-6
    within /= np.outer(scale, scale) * len(part.truth)
    spread = float(np.trace(within)) / width
    # Photos that are all alike within their classes leave nothing to whiten.
    shrunk = within + (shrinkage * spread or 1.0) * np.eye(width)
    whiten = solve_triangular(np.linalg.cholesky(shrunk), np.eye(width), lower=True).T / scale[:, None]
    variance = float(np.einsum("ij,ij->", whiten, total @ whiten)) / len(part.truth) / width
    return np.asarray(whiten / np.sqrt(variance or 1.0))


def join(first: Part, second: Part) -> Part:
    """The photos of both."""
    return Part(
        np.concatenate([first.embeddings, second.embeddings]),
        np.concatenate([first.truth, second.truth]),
        [*first.groups, *second.groups],
    )


def _fold(part: Part, rows: tuple[Indices, Indices]) -> _Fold:
    learnt, held_out = rows
    return _Fold(_take(part, learnt), _take(part, held_out), is_copy=True)


def _folds(part: Part, seed: int) -> list[tuple[Indices, Indices]]:
    """Places of the photos to learn from and of those that are held out."""
    from sklearn.model_selection import StratifiedGroupKFold

    number = min(FOLDS, len(set(part.groups)), int(np.bincount(part.truth).max()))
    if number < 2:
        return []
    splitter = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Classes of fewer photos than folds are expected here, and spread as far as they go.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = list(splitter.split(part.embeddings, part.truth, part.groups))
    return [
        (train, learnable)
        for train, held_out in splits
        # A class that a fold cannot learn says nothing of its settings.
        if len(learnable := held_out[np.isin(part.truth[held_out], part.truth[train])])
        and len(set(part.truth[train])) > 1
    ]


def _take(part: Part, rows: Indices) -> Part:
    return Part(part.embeddings[rows], part.truth[rows], [part.groups[i] for i in rows])
