"""The ladder: what is climbed in which time, what is kept, what is said of the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn import Told
from kramar.config import TrainConfig
from kramar.errors import ExportError, FailedError, TrainingError
from kramar.evaluation.metrics import Scored, score
from kramar.records import Decisions, Metrics, Promise, Verification
from kramar.training import ladder
from kramar.training.climb import CARD_ROOM, Climbed, EndedError, Ground, Limits, Step
from kramar.training.ladder import Planned
from kramar.training.material import Material


def metrics(right: int, sure: float = 0.9) -> Metrics:
    """Of twenty photos of two classes."""
    truth = np.array([0] * 10 + [1] * 10)
    said = np.where(np.arange(20) < right, truth, 1 - truth)
    probabilities = np.full((20, 2), 1 - sure)
    probabilities[np.arange(20), said] = sure
    names = ["a", "b"]
    return score(Scored.of(probabilities, [names[t] for t in truth], names, [str(i) for i in range(20)]))


def rung(key: str, right: int | None = 15, **changes: Any) -> Climbed:
    return Climbed(
        key=key,
        rung=key,
        backbone="efficientnet_lite0",
        storage="float32",
        how="made up",
        seconds=1.0,
        reached=1.0,
        expected=1.0,
        bytes=changes.pop("bytes", 14_000_000),
        milliseconds=changes.pop("milliseconds", 8.0),
        temperature=1.0,
        val=None if right is None else metrics(right, changes.pop("sure", 0.9)),
        verification=Verification(photos=1, label_differences=0, largest_difference=0.0),
        **changes,
    )


def test_the_most_accurate_on_validation_is_kept_and_of_equals_the_one_of_lower_loss() -> None:
    head, tail, whole = rung("head", 15), rung("tail", 17), rung("whole", 16)
    assert ladder.best([head, tail, whole], Limits()) == tail
    sure = rung("whole", 17, sure=0.85)
    assert ladder.best([head, tail, sure], Limits()) == sure
    assert "most accurate" in ladder.reason(tail, tail, Limits())
    assert ladder.reason(head, tail, Limits()) == "not better than tail on validation"


def test_without_validation_photos_the_last_rung_is_kept() -> None:
    assert ladder.best([rung("head", None), rung("tail", None)], Limits()).key == "tail"  # type: ignore[union-attr]


def test_limits_bind_and_say_by_how_much() -> None:
    head, tail = rung("head", 15, bytes=4_000_000), rung("tail", 18, bytes=14_000_000, milliseconds=30.0)
    assert ladder.best([head, tail], Limits(size=4.4e6)) == head
    assert ladder.reason(tail, head, Limits(size=4.4e6, latency=20)) == (
        "9.60 MB over --max-size and 10.0 ms over --max-latency"
    )
    assert ladder.best([head, tail], Limits(size=1e6)) is None
    # Exactly at the limit is within it, once the card has grown.
    assert Limits(size=4e6 + CARD_ROOM, latency=8.0).fits(head)
    assert not Limits(size=4e6).fits(head)


@pytest.mark.parametrize("of_each", [{}, {"class_precision": True}, {"class_precision": True, "class_sets": True}])
def test_what_is_promised_of_each_class_has_its_room_in_the_file(of_each: dict[str, bool]) -> None:
    classes, thirds = 1000, [1 / 3] * 1000
    promise = Promise(threshold=0.9, guaranteed=True, photos=300)
    decisions = Decisions(precision_target=0.95, auto=promise, coarse=promise, set_coverage=0.9)
    full = {"class_precision": {"auto_by_class": thirds}, "class_sets": {"set_least_by_class": thirds}}
    for one in of_each:
        decisions = decisions.model_copy(update=full[one])
    limits = Limits.of(TrainConfig(max_size=5e6, **of_each), classes)
    head = rung("head", bytes=4_000_000)
    assert len(decisions.model_dump_json()) <= limits.card
    assert limits.room(head) == 5e6 - 4e6 - limits.card
    assert limits.card <= CARD_ROOM + 24 * classes * len(of_each)


def test_a_smaller_copy_that_passed_takes_its_source_s_place_and_one_that_did_not_does_not() -> None:
    tail = rung("tail", 18)
    passed = rung("quantised", 17, source="tail", passed=True, note="it agrees", bytes=4_000_000)
    failed = passed.model_copy(update={"passed": False, "note": "it differs"})
    assert ladder.best([tail, passed], Limits()) == passed
    assert ladder.best([tail, failed], Limits()) == tail
    assert ladder.best([tail, failed], Limits(size=5e6)) == failed
    assert ladder.reason(tail, passed, Limits()) == "quantised takes its place"
    assert ladder.reason(failed, tail, Limits()) == "it differs"
    assert ladder.reason(rung("head", 15), passed, Limits()) == "not better than tail on validation"
    assert ladder.reason(tail, tail, Limits(size=2e7)) == "the most accurate on validation within the limits"
    assert ladder.reason(rung("head", None), rung("tail", None), Limits()) == "tail came later"


class Scripted:
    """A rung that takes what it is told to."""

    def __init__(self, key: str, log: list[tuple[str, float]], *, do: bool = True, seconds: float = 1.0) -> None:
        self.key = self.rung = key
        self._log, self._do, self._seconds = log, do, seconds

    def plan(self, seconds: float, climbed: Mapping[str, Climbed]) -> Step:
        self._log.append((self.key, round(seconds)))
        return Step(do=self._do, why="" if self._do else "no room", expected=3.0)

    def climb(self, step: Step, climbed: Mapping[str, Climbed]) -> Climbed:
        self._log.append((f"climb {self.key}", step.expected))
        done = rung(self.key, 15 + len(climbed))
        return done.model_copy(update={"seconds": self._seconds, "expected": step.expected})


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(
        folder=tmp_path,
        material=Material({"train": [], "val": [], "test": []}, ["a", "b"]),
        seed=0,
        progress=Told(),
        elapsed=lambda: 7.0,
        left=lambda: 1000.0,
        stopped=lambda: False,
        card=lambda **_: None,  # type: ignore[arg-type,return-value]
        cache_size=1e9,
        limits=Limits(),
    )


def climb(
    ground: Ground, rungs: list[Planned], steps: dict[str, Step] | None = None, below: Sequence[Climbed] = ()
) -> Any:
    decided: list[dict[str, Step]] = []
    published: list[list[str]] = []
    climbed, skipped = ladder.climb(
        ground,
        rungs,
        steps or {},
        lambda now: decided.append(dict(now)),
        lambda done: published.append([one.key for one in done]),
        below,
    )
    return [one.key for one in climbed], {one.key: one.why for one in skipped}, decided, published


def test_time_is_shared_and_what_is_reserved_is_left(ground: Ground) -> None:
    log: list[tuple[str, float]] = []
    rungs = [
        Planned(Scripted("tail", log), share=1.0),
        Planned(Scripted("whole", log), share=3.0),
        Planned(Scripted("quantised", log), share=0.0, reserve=50.0),
    ]
    climbed, skipped, decided, published = climb(ground, rungs)
    assert climbed == ["tail", "whole", "quantised"]
    assert not skipped
    assert log == [
        ("tail", 225),
        ("climb tail", 3.0),
        ("whole", 900),
        ("climb whole", 3.0),
        ("quantised", 950),
        ("climb quantised", 3.0),
    ]
    assert [list(one) for one in decided] == [["tail"], ["tail", "whole"], ["tail", "whole", "quantised"]]
    assert {step.began for step in decided[-1].values()} == {7.0}
    assert published == [["tail"], ["tail", "whole"], ["tail", "whole", "quantised"]]


def test_what_a_longer_budget_is_for_is_left_out_of_a_short_one_and_leaves_its_time(ground: Ground) -> None:
    log: list[tuple[str, float]] = []
    rungs = [Planned(Scripted("tail", log)), Planned(Scripted("whole", log), share=9.0, least=2000.0)]
    climbed, skipped, _, _ = climb(ground, rungs)
    assert climbed == ["tail"]
    assert skipped == {"whole": "no time: it is worth trying with 2000 s left, 1000 s are"}
    assert log[0] == ("tail", 950)


@pytest.mark.parametrize(("took", "planned"), [(1.0, 950.0), (3.3, 950 / 1.1), (60.0, 950 / 1.25)])
def test_what_took_longer_than_expected_is_not_expected_to_be_faster(
    ground: Ground, took: float, planned: float
) -> None:
    log: list[tuple[str, float]] = []
    climb(ground, [Planned(Scripted("tail", log, seconds=took)), Planned(Scripted("whole", log))])
    assert log[2] == ("whole", round(planned))


def test_a_resumed_climb_repeats_what_was_decided(ground: Ground) -> None:
    log: list[tuple[str, float]] = []
    steps = {"tail": Step(do=False, why="decided before"), "whole": Step(do=True, expected=7.0)}
    climbed, skipped, decided, _ = climb(
        ground, [Planned(Scripted("tail", log)), Planned(Scripted("whole", log), least=5000.0)], steps
    )
    assert (climbed, skipped) == (["whole"], {"tail": "decided before"})
    assert log == [("climb whole", 7.0)]
    assert not decided


def test_a_finished_rung_is_not_climbed_again(ground: Ground) -> None:
    log: list[tuple[str, float]] = []
    (ground.folder / "tail.json").write_text(rung("tail", 16).model_dump_json(), encoding="utf-8")
    climbed, _, _, _ = climb(ground, [Planned(Scripted("tail", log))], {"tail": Step(do=True)})
    assert climbed == ["tail"]
    assert not log


def test_a_rung_that_has_no_room_says_so(ground: Ground) -> None:
    climbed, skipped, _, _ = climb(ground, [Planned(Scripted("tail", [], do=False))])
    assert not climbed
    assert skipped == {"tail": "no room"}
    assert isinstance(ground.progress, Told)
    assert ground.progress.said == ["Rung tail is left out: no room"]


def test_a_rung_that_was_ended_before_it_had_learnt_anything_is_left_out(ground: Ground) -> None:
    class Ended(Scripted):
        def climb(self, step: Step, climbed: Mapping[str, Climbed]) -> Climbed:
            raise EndedError

    log: list[tuple[str, float]] = []
    climbed, skipped, _, published = climb(ground, [Planned(Ended("tail", log)), Planned(Scripted("whole", log))])
    assert climbed == ["whole"]
    assert skipped == {"tail": "interrupted"}
    assert published == [["whole"]]


@pytest.mark.parametrize("error", [ExportError("not its scores"), TrainingError("out of memory")])
def test_a_rung_that_fails_is_left_out_for_good_and_the_others_are_climbed(ground: Ground, error: FailedError) -> None:
    class Failing(Scripted):
        def climb(self, step: Step, climbed: Mapping[str, Climbed]) -> Climbed:
            raise error

    log: list[tuple[str, float]] = []
    ground.checkpoint("tail").write_bytes(b"half")
    rungs = [Planned(Failing("tail", log)), Planned(Scripted("whole", log))]
    climbed, skipped, decided, published = climb(ground, rungs, below=[rung("head")])
    assert climbed == ["head", "whole"]
    assert skipped == {"tail": str(error)}
    assert published == [["head", "whole"]]
    assert not ground.checkpoint("tail").exists()
    assert isinstance(ground.progress, Told)
    assert f"Warning: rung tail is left out: {error}" in ground.progress.said
    # A later start does not try it again.
    assert climb(ground, rungs, decided[-1], below=[rung("head")])[:2] == (climbed, skipped)
    # Without the lowest there is no model.
    with pytest.raises(FailedError, match=str(error)):
        climb(ground, rungs)
    # What an end that was wanted left out is not left out for good.
    stopped = dataclasses.replace(ground, stopped=lambda: True, limits=Limits(size=1e6))
    shrinking = [Planned(Scripted("whole", log)), Planned(Failing("quantised", log), shrinks=True)]
    _, skipped, decided, _ = climb(stopped, shrinking, below=[rung("head")])
    assert skipped == {"whole": "interrupted", "quantised": str(error)}
    assert not decided


def test_limits_say_how_they_could_be_raised() -> None:
    head = rung("head", bytes=14_000_000, milliseconds=3.3)
    copy = rung("quantised", bytes=3_860_000, milliseconds=6.6)
    worse = rung("views", bytes=14_000_001, milliseconds=6.7)
    every = [head, copy, worse]

    def raised(**limits: float) -> list[str]:
        given = Limits(**limits)
        found = given.raised(every)
        assert all(one.met(every) for one in found)
        return [one.words() for one in found]

    assert raised(size=3e6) == ["--max-size 3.87MB"]
    assert raised(latency=3.0) == ["--max-latency 4.2ms"]
    # Each model's figures together; what it keeps to stays as it was asked for.
    assert raised(size=3e6, latency=3.0) == [
        "--max-size 3.87MB --max-latency 8.3ms",
        "--max-size 14.01MB --max-latency 4.2ms",
    ]
    assert raised(size=1e6, latency=6.64) == ["--max-size 3.87MB --max-latency 6.64ms"]
    assert raised(size=3e6, latency=10.0) == ["--max-size 3.87MB --max-latency 10ms"]


def test_nothing_more_is_begun_once_the_user_wants_an_end(ground: Ground) -> None:
    log: list[tuple[str, float]] = []
    stopped = dataclasses.replace(ground, stopped=lambda: True)
    climbed, skipped, decided, _ = climb(stopped, [Planned(Scripted("tail", log))])
    assert not climbed
    assert skipped == {"tail": "interrupted"}
    assert not log
    # The same command may go on with it later.
    assert not decided


def test_a_copy_is_made_again_where_another_model_is_to_be_copied(ground: Ground) -> None:
    log: list[tuple[str, float]] = []
    copied = rung("quantised", 16, source="head", passed=True)
    (ground.folder / "quantised.json").write_text(copied.model_dump_json(), encoding="utf-8")
    for source, made in (("head", []), ("tail", [("climb quantised", 0.0)])):
        climb(ground, [Planned(Scripted("quantised", log))], {"quantised": Step(do=True, models=[source])})
        assert log == made


def test_what_makes_a_file_small_enough_is_climbed_after_that_where_nothing_else_is_within_the_limits(
    ground: Ground,
) -> None:
    log: list[tuple[str, float]] = []
    rungs = [Planned(Scripted("whole", log)), Planned(Scripted("quantised", log), share=0.0, shrinks=True)]
    for size, found in ((4.4e6, ["quantised"]), (2e7, [])):
        stopped = dataclasses.replace(ground, stopped=lambda: True, limits=Limits(size=size))
        climbed, skipped, _, _ = climb(stopped, rungs, below=[rung("head")])
        assert climbed == ["head", *found]
        assert skipped["whole"] == "interrupted"


def test_without_validation_photos_a_copy_that_did_not_pass_is_not_kept() -> None:
    tail = rung("tail", None)
    copy = rung("quantised", None, source="tail", passed=False)
    assert ladder.best([tail, copy], Limits()) == tail
    assert ladder.best([tail, copy.model_copy(update={"passed": True})], Limits()).key == "quantised"  # type: ignore[union-attr]
