"""The climb: rung after rung for as long as there is time, and the best model within the limits after each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from kramar import machine
from kramar.errors import ExportError, TrainingError
from kramar.records import Record
from kramar.training.climb import Climbed, EndedError, Ground, Limits, Rung, Step

# Less time than this is left for what a rung's estimate does not know.
_MARGIN = 0.95
# Rungs that took longer than they were expected to tell that the next ones will, up to so many times as long.
_SLOWEST = 1.25


class Skipped(Record):
    """A rung that was not climbed, and why."""

    key: str
    rung: str
    why: str


@dataclass(frozen=True, slots=True)
class Planned:
    """A rung and its place in the plan.

    Attributes:
        share: of the time that is left, in proportion to those of the rungs that follow; 0 for one that takes what it
            takes, which the rungs before it leave it: ``reserve``.
        least: seconds that must be left before the climb, or it is not tried.
        shrinks: whether it makes smaller files: while nothing is within the limits, it is climbed even after the user
            wanted an end, or there would be no model at all.
    """

    rung: Rung
    share: float = 1.0
    least: float = 0.0
    reserve: float = 0.0
    shrinks: bool = False


def climb(
    ground: Ground,
    rungs: Sequence[Planned],
    steps: Mapping[str, Step],
    decided: Callable[[Mapping[str, Step]], None],
    publish: Callable[[Sequence[Climbed]], None],
    below: Sequence[Climbed] = (),
) -> tuple[list[Climbed], list[Skipped]]:
    """Climb ``rungs``, in their order. One that fails is left out; the lowest of all must not.

    Args:
        ground: what they stand on.
        rungs: the lowest first.
        steps: what an earlier start of this run decided, by key; it is done again.
        decided: told all decisions before one is acted on.
        publish: told all climbed rungs after each.
        below: rungs that were climbed before.

    Returns:
        All rungs that are climbed, and those of ``rungs`` that are not. Raises ExportError, OutputError, TrainingError.
    """
    steps = dict(steps)
    climbed = {one.key: one for one in below}
    skipped: list[Skipped] = []

    def write() -> None:
        # That an end was wanted is nothing that a later start has to repeat.
        if not ground.stopped():
            decided(steps)

    if not any(planned.rung.key in steps for planned in rungs):
        left = ground.left()
        for planned in rungs:
            if left < planned.least:
                why = f"no time: it is worth trying with {planned.least:.0f} s left, {max(0.0, left):.0f} s are"
                steps[planned.rung.key] = Step(do=False, why=why)
    for place, planned in enumerate(rungs):
        rung = planned.rung
        step = steps.get(rung.key)
        if step is None:
            step = _decide(ground, [one for one in rungs[place:] if one.rung.key not in steps], climbed)
            steps[rung.key] = step = step.model_copy(update={"began": ground.elapsed()})
            write()
        if not step.do:
            skipped.append(Skipped(key=rung.key, rung=rung.rung, why=step.why))
            ground.progress.say(f"Rung {rung.key} is left out: {step.why}")
            continue
        done = ground.done(rung.key)
        if done is None or (done.source and done.source not in step.models):
            if step.expected:
                ground.progress.say(f"Rung {rung.key}: about {step.expected:.0f} s")
            try:
                done = rung.climb(step, climbed)
            except EndedError:
                skipped.append(Skipped(key=rung.key, rung=rung.rung, why="interrupted"))
                continue
            except (ExportError, TrainingError) as error:
                if not climbed:
                    raise
                # A later start would fail in the same way.
                steps[rung.key] = Step(do=False, why=str(error))
                write()
                ground.checkpoint(rung.key).unlink(missing_ok=True)
                skipped.append(Skipped(key=rung.key, rung=rung.rung, why=str(error)))
                ground.progress.say(f"Warning: rung {rung.key} is left out: {error}")
                continue
            found = f"{done.val.accuracy.percent()} on validation" if done.val else "no validation photos"
            ground.progress.say(f"Rung {rung.key}: {found}, in {done.seconds:.0f} s ({done.how})")
        machine.give_back()
        climbed[rung.key] = done
        publish(list(climbed.values()))
    return list(climbed.values()), skipped


def _decide(ground: Ground, rungs: Sequence[Planned], climbed: Mapping[str, Climbed]) -> Step:
    """What to do of the first of ``rungs``, given that the others are still to come."""
    first = rungs[0]
    if ground.stopped() and (not first.shrinks or ground.limits.met(climbed.values())):
        return Step(do=False, why="interrupted")
    left = ground.left() * _MARGIN / _slower(climbed.values())
    reserved = sum(one.reserve for one in rungs[1:])
    shares = sum(one.share for one in rungs)
    return first.rung.plan((left - reserved) * first.share / shares if first.share else left, climbed)


def _slower(climbed: Collection[Climbed]) -> float:
    """So many times as long as expected the rungs have taken, where that is longer."""
    foreseen = [one for one in climbed if one.expected]
    expected = sum(one.expected for one in foreseen)
    return min(_SLOWEST, max(1.0, sum(one.seconds for one in foreseen) / expected)) if foreseen else 1.0


def best(climbed: Sequence[Climbed], limits: Limits) -> Climbed | None:
    """The model to keep: of those within the limits, the most accurate on validation; of equals, the lower log loss.

    Without validation photos, the last one. A smaller file that passed for its source takes its place. None where
    nothing is within the limits.
    """
    fitting = [one for one in climbed if limits.fits(one)]
    if not fitting:
        return None
    if any(one.val is None for one in fitting):
        return ([one for one in fitting if not one.source or one.passed] or fitting)[-1]
    sources = {one.key: one for one in climbed}

    def rank(one: Climbed) -> tuple[float, float, bool]:
        # Its source's figures are its own: what it lost was found to be nothing much.
        judged = sources[one.source] if one.source and one.passed else one
        assert judged.val is not None
        return judged.val.accuracy.value, -judged.val.log_loss.value, one.passed

    return max(fitting, key=rank)


def reason(one: Climbed, chosen: Climbed, limits: Limits) -> str:
    """Why a rung's model was kept, or not."""
    if one.key == chosen.key:
        why = "the most accurate on validation" if one.val else "the last rung"
        if limits.bind:
            why += " within the limits"
        if one.source and one.passed:
            why = f"stands for {one.source}: {one.note}"
        elif one.source:
            why = f"within the limits; {one.note}"
        return why
    if excess := limits.excess(one):
        return excess
    if one.source and not one.passed:
        return one.note
    if chosen.source == one.key:
        return f"{chosen.key} takes its place"
    if one.val is None:
        return f"{chosen.key} came later"
    return f"not better than {chosen.source if chosen.passed else chosen.key} on validation"
