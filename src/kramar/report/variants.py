"""What a comparison compares: architectures trained in one way, each with all its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean
from typing import Any

from kramar.evaluation.metrics import wilson
from kramar.records import Estimate, Metrics
from kramar.study.records import ComparisonRecord, TrialRecord
from kramar.study.settings import NO_TRANSFER, REGIMES

# The verdicts of ``evaluation/paired.py`` on the first of two; any other shows nothing.
_SHOWN = {"better": 1, "worse": -1}


@dataclass(frozen=True, slots=True)
class Way:
    """How a network was trained, whatever its architecture; ``mark`` is the class of its colour and shape."""

    regime: str
    transfer: str

    @property
    def mark(self) -> str:
        """``w1`` to ``w3`` in the order of REGIMES; the one after them for any other."""
        order = list(REGIMES)
        return f"w{1 + (order.index(self.regime) if self.regime in order else len(order))}"

    @property
    def short(self) -> str:
        """For a legend: ``weights, augmented``."""
        known = REGIMES.get(self.regime)
        if known is None:
            return self.regime
        return f"{'weights' if known.weights else 'from scratch'}, {'' if known.augment else 'not '}augmented"

    @property
    def phrase(self) -> str:
        """After an architecture's name: ``with ImageNet weights and augmentation``."""
        known = REGIMES.get(self.regime)
        if known is None:
            return f"trained as {self.regime}"
        if not known.weights:
            return f"from scratch {'with' if known.augment else 'without'} augmentation"
        return "with ImageNet weights " + ("and augmentation" if known.augment else "and no augmentation")


@dataclass(frozen=True, slots=True)
class Variant:
    """An architecture trained in one way; figures are means over its trials, one a seed."""

    name: str
    architecture: str
    way: Way
    trials: tuple[TrialRecord, ...]
    part: str

    @property
    def accuracy(self) -> Estimate | None:
        """On test, or on validation where nothing was tested. See `mean`."""
        return self.metric("accuracy")

    @property
    def seeds(self) -> list[float]:
        """The accuracy of each trial."""
        return [metrics.accuracy.value for metrics in self._metrics]

    @property
    def parameters(self) -> int:
        """Of its model files, which all have as many."""
        return self.trials[0].parameters

    @property
    def energy_joules(self) -> float | None:
        """Of one training; None where no trial was told."""
        told = [one.energy_joules for one in self.trials if one.energy_joules is not None]
        return fmean(told) if told else None

    @property
    def epochs(self) -> float:
        """Passes over the training photos."""
        return fmean(len(one.epochs) for one in self.trials)

    def figure(self, name: str) -> float:
        """The mean of a trial's figure."""
        return fmean(getattr(one, name) for one in self.trials)

    def metric(self, name: str) -> Estimate | None:
        """The mean of a metric."""
        return mean([getattr(metrics, name) for metrics in self._metrics], share=name in ("accuracy", "top5"))

    @property
    def _metrics(self) -> list[Metrics]:
        return [one.metrics[self.part] for one in self.trials if self.part in one.metrics]


def mean(estimates: Sequence[Estimate], *, share: bool) -> Estimate | None:
    """The mean of several models' figures on the same photos; None of none.

    The interval of a share is Wilson's for the mean on as many photos, as if there had been one model: right for one,
    and wide enough for several, whose mean varies less from photo to photo. Of other figures, the mean of the limits.
    """
    if len(estimates) < 2:
        return estimates[0] if estimates else None
    value = fmean(one.value for one in estimates)
    if share:
        return wilson(value * estimates[0].n, estimates[0].n)
    low, high = fmean(one.low for one in estimates), fmean(one.high for one in estimates)
    return Estimate(value=value, low=low, high=high, n=estimates[0].n)


def scored_part(trials: Sequence[TrialRecord]) -> str:
    """The part that the page's figures are measured on: test, else val, else none (an empty string)."""
    return next((part for part in ("test", "val") if any(part in one.metrics for one in trials)), "")


def variants(trials: Sequence[TrialRecord]) -> list[Variant]:
    """The trials by what is compared, the most accurate first; of equals, the smaller file."""
    part = scored_part(trials)
    found: dict[str, list[TrialRecord]] = {}
    for one in trials:
        found.setdefault(one.variant, []).append(one)
    gathered = [
        Variant(name, several[0].architecture, Way(several[0].regime, several[0].transfer), tuple(several), part)
        for name, several in found.items()
    ]
    return sorted(gathered, key=lambda one: (-one.accuracy.value if one.accuracy else inf, one.figure("bytes")))


def ways(found: Sequence[Variant]) -> list[Way]:
    """The ways of training among them, in the order of their marks."""
    return sorted({one.way for one in found}, key=lambda way: (way.mark, way.regime, way.transfer))


def by_architecture(found: Sequence[Variant]) -> dict[str, list[Variant]]:
    """The variants of each architecture, in the order of their marks; that of the most accurate variant first."""
    grouped: dict[str, list[Variant]] = {}
    for one in found:
        grouped.setdefault(one.architecture, []).append(one)
    return {name: sorted(several, key=lambda one: one.way.mark) for name, several in grouped.items()}


@dataclass(frozen=True, slots=True)
class Versus:
    """One variant's accuracy minus another's on the same photos.

    ``shown`` is 1 where it is shown to be better, -1 where it is shown to be worse, and 0 where neither is shown.
    """

    difference: Estimate
    p: float
    adjusted: float
    shown: int


@dataclass(frozen=True, slots=True)
class Paired:
    """The paired tests, looked up from either side."""

    by_pair: Mapping[tuple[str, str], Versus]

    @staticmethod
    def of(tests: Sequence[ComparisonRecord]) -> Paired:
        """From the record, which has each pair once."""
        pairs: dict[tuple[str, str], Versus] = {}
        for test in tests:
            ours = test.difference
            theirs = Estimate(value=-ours.value, low=-ours.high, high=-ours.low, n=ours.n)
            shown = _SHOWN.get(test.verdict, 0)
            pairs[test.first, test.second] = Versus(ours, test.p, test.adjusted, shown)
            pairs[test.second, test.first] = Versus(theirs, test.p, test.adjusted, -shown)
        return Paired(pairs)

    def of_pair(self, one: Variant, other: Variant) -> Versus | None:
        """``one`` against ``other``; None where they were not tested."""
        return self.by_pair.get((one.name, other.name))

    def not_worse(self, found: Sequence[Variant]) -> list[Variant]:
        """The variants after the first that are not shown to be worse than it."""
        return [one for one in found[1:] if (test := self.of_pair(found[0], one)) and test.shown < 1]

    def rows(self, found: Sequence[Variant]) -> list[list[Versus | None]]:
        """``rows[i][j]``: the i-th variant against the j-th."""
        return [[self.of_pair(row, column) for column in found] for row in found]


@dataclass(frozen=True, slots=True)
class Pick:
    """A variant worth naming, and for what."""

    titles: list[str]
    variant: Variant


def picks(found: Sequence[Variant], not_worse: Sequence[Variant]) -> list[Pick]:
    """The most accurate variant, and the smallest and the fastest of it and those not shown to be worse."""
    group = [found[0], *not_worse]
    chosen: dict[str, list[str]] = {found[0].name: ["Most accurate"]}
    if not_worse:
        smallest = min(group, key=lambda one: one.figure("bytes"))
        fastest = min(group, key=lambda one: one.figure("milliseconds"))
        for title, one in (("Smallest file", smallest), ("Fastest", fastest)):
            chosen.setdefault(one.name, []).append(title)
    by_name = {one.name: one for one in group}
    return [Pick(titles, by_name[name]) for name, titles in chosen.items()]


@dataclass(frozen=True, slots=True)
class Members:
    """Some of a comparison's variants that share a way of training; ``every`` where they are all that do."""

    way: Way
    architectures: list[str]
    every: bool


def members(chosen: Sequence[Variant], found: Sequence[Variant]) -> list[Members]:
    """``chosen`` of ``found``, by way of training, so that they are named in few words."""
    listed = []
    for way in ways(chosen):
        names = [one.architecture for one in chosen if one.way == way]
        listed.append(Members(way, names, len(names) == sum(one.way == way for one in found)))
    return listed


@dataclass(frozen=True, slots=True)
class TrainedBy:
    """A recipe, and the variants trained by it."""

    who: list[Members]
    recipe: Mapping[str, Any]


def recipes(found: Sequence[Variant]) -> list[TrainedBy]:
    """The distinct recipes, in the order of the marks of those trained by them."""
    grouped: dict[str, tuple[Mapping[str, Any], list[Variant]]] = {}
    for one in found:
        for recipe in {repr(trial.recipe): trial.recipe for trial in one.trials}.values():
            grouped.setdefault(repr(recipe), (recipe, []))[1].append(one)
    trained = [TrainedBy(members(users, found), recipe) for recipe, users in grouped.values()]
    return sorted(trained, key=lambda one: [who.way.mark for who in one.who])


@dataclass(frozen=True, slots=True)
class Origin:
    """One architecture: its input, where its weights came from, and whether its files answer as its networks did."""

    architecture: str
    size: int
    sources: list[str]
    licences: list[str]
    photos: int
    differences: int
    largest: float


def origins(grouped: Mapping[str, Sequence[Variant]]) -> list[Origin]:
    """Of each architecture; from scratch, there are no weights to name."""
    listed = []
    for name, several in grouped.items():
        trials = [trial for one in several for trial in one.trials]
        given = [one for one in trials if one.transfer != NO_TRANSFER]
        listed.append(
            Origin(
                name,
                trials[0].size,
                list(dict.fromkeys(one.weights_source for one in given)),
                list(dict.fromkeys(one.weights_licence for one in given if one.weights_licence)),
                sum(one.verification.photos for one in trials),
                sum(one.verification.label_differences for one in trials),
                max(one.verification.largest_difference for one in trials),
            )
        )
    return listed
