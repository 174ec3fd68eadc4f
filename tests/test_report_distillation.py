"""The page of a distillation: whole, and its colours tell gain from loss."""

import pytest

from kramar.records import Estimate
from kramar.report.distillation import heat
from kramar.study.distillation_records import CellRecord


def cell(temperature: float, weight: float, gain: float, adjusted: float = 1.0) -> CellRecord:
    return CellRecord(
        temperature=temperature,
        weight=weight,
        seeds=2,
        accuracy=0.5 + gain,
        gain=Estimate(value=gain, low=gain - 0.01, high=gain + 0.01, n=100),
        p=adjusted,
        adjusted=adjusted,
        val_loss=None,
    )


def test_rows_are_weights_and_columns_temperatures() -> None:
    found = heat([cell(2, 0.3, 0.02), cell(1, 0.3, 0.04), cell(1, 0.1, -0.01)])
    assert (found.temperatures, found.weights) == ([1, 2], [0.1, 0.3])
    assert [[one and one.gain.value for one in row] for row in found.rows] == [[-0.01, None], [0.04, 0.02]]


@pytest.mark.parametrize(("gain", "level"), [(0.04, "p4"), (0.02, "p2"), (0.001, "p1"), (0.0, "even"), (-0.04, "n4")])
def test_colour_is_the_share_of_the_largest_gain(gain: float, level: str) -> None:
    found = heat([cell(1, 0.1, 0.04), cell(2, 0.1, gain)])
    assert found.level(cell(2, 0.1, gain)) == level


def test_helping_and_harming_are_shown_ones_alone() -> None:
    assert [
        (one.helps, one.harms) for one in (cell(1, 1, 0.1, 0.01), cell(1, 1, 0.1, 0.2), cell(1, 1, -0.1, 0.01))
    ] == [
        (True, False),
        (False, False),
        (False, True),
    ]
