"""Which copies of a model are made, and which is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kramar.evaluation.metrics import wilson
from kramar.records import Estimate
from kramar.training.climb import CARD_ROOM, Limits
from kramar.training.rungs import copies
from kramar.training.rungs.copies import Copy, Way

ALL = copies.ways([], controlled=True)
INT8, *_, WEIGHTS, FLOAT16 = ALL


def copy(way: Way = INT8, *, agree: int = 100, size: float = 4e6, faster: float = 1.5, lost: float = 0.0) -> Copy:
    return Copy(
        way=way,
        path=Path("copy.onnx"),
        agreement=wilson(agree, 100),
        lost=Estimate(value=lost, low=lost - 0.01, high=lost + 0.01, n=100),
        milliseconds=10 / faster,
        faster=faster,
        bytes=int(size),
    )


def test_as_much_arithmetic_as_keeps_the_labels_becomes_int8() -> None:
    assert [way.how for way in copies.ways([], controlled=False)] == [
        "int8 by ONNX Runtime",
        "int8 weights, float32 arithmetic",
        "float16 weights, float32 arithmetic",
    ]
    assert [way.how for way in ALL if "20" in way.kept] == [
        "int8 by ONNX Runtime, the first 20 convolutions float32",
        "int8 by NNCF, the first 20 convolutions float32",
    ]


def test_what_leaves_more_as_it_was_than_a_copy_that_passed_is_not_made() -> None:
    # One that fails rules nothing out.
    assert copies.still(ALL, [copy(agree=90)], Limits(), stopped=False) == ALL
    found = copies.still(ALL, [copy()], Limits(), stopped=False)
    assert {way.method for way in found} == {"int8 by NNCF", WEIGHTS.method}


def test_who_wants_an_end_waits_for_one_copy_that_does_what_its_source_does() -> None:
    small = Limits(size=4.4e6)
    assert copies.still(ALL, [copy()], small, stopped=True) == []
    # The first one is another model: int8 weights follow, and nothing that takes minutes.
    assert copies.still(ALL, [copy(agree=93)], small, stopped=True) == [WEIGHTS, FLOAT16]
    # Where none is small enough, the others are tried as well, last.
    found = copies.still(ALL, [copy(size=5e6)], small, stopped=True)
    assert found[0] == WEIGHTS
    assert len(found) > 2
    assert not any(way.quick for way in found[1:])


def test_the_fastest_copy_that_passes_is_kept_if_that_is_worth_it() -> None:
    fast, small = copy(size=4.2e6), copy(WEIGHTS, size=4e6, faster=1.0)
    assert copies.chosen([fast, small], Limits()) == fast
    slower = copy(size=4.2e6, faster=1.05)
    assert copies.chosen([slower, small], Limits()) == small
    assert copies.chosen([fast, small], Limits(size=4e6 + CARD_ROOM)) == small
    assert copies.chosen([small, fast], Limits(latency=8.0)) == fast


def test_of_copies_that_do_not_pass_the_most_alike_within_the_limits_is_kept() -> None:
    alike, small = copy(agree=97, size=6e6), copy(agree=94)
    assert copies.chosen([alike, small], Limits()) == alike
    assert copies.chosen([alike, small], Limits(size=5e6)) == small
    assert copies.chosen([alike, small], Limits(size=1e6)) == alike


def test_a_copy_passes_by_its_labels_and_by_what_it_loses() -> None:
    assert copy(agree=98).passed
    assert not copy(agree=97).passed
    assert copy(lost=copies.MOST_LOST).passed
    assert not copy(lost=0.006).passed
    assert replace(copy(), lost=None).passed
    assert copy(lost=0.02).note == (
        "int8 by ONNX Runtime: its labels agree on 100.0% (95% interval 96.3 to 100.0, n = 100), "
        "validation accuracy -2.0 points (-3.0 to -1.0)"
    )
