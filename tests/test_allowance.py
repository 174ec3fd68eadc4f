"""What of a budget is left to the rungs."""

from __future__ import annotations

import math

import pytest

from drawn import Held
from kramar.data.manifest import Entry
from kramar.jobs.allowance import Allowance
from kramar.models import backbones
from kramar.models.engines import Choice
from kramar.models.store import Rates
from kramar.training.climb import Climbed
from kramar.training.material import ASIDE, Material
from test_ladder import rung

CHOICE = Choice(engine="onnxruntime", version="1", rates={"onnxruntime": 100.0})
RESIZE = backbones.find("efficientnet_lite0").resize
MATERIAL = Material(
    {
        part: [Entry(f"{part}{n}", Held(b""), f"{part}{n}", f"c{n % 2}", "", "", part) for n in range(photos)]
        for part, photos in (("train", 2000), ("val", 100), ("test", 400), (ASIDE, 60))
    },
    ["c0", "c1"],
)
HEAD, TAIL = rung("head"), rung("tail")


def allowance(budget: float = 600.0, rates: Rates | None = None) -> Allowance:
    return Allowance(budget, MATERIAL, CHOICE, rates, RESIZE)


def test_photos_that_tell_what_is_known_take_a_twentieth_of_the_budget() -> None:
    assert len(allowance().shown) == 2000
    assert len(allowance(100.0).shown) == 400


def test_what_comes_after_the_rungs_is_kept_for_it() -> None:
    # The head's scores are there: deciding, at 80 photos/s, and the report.
    deciding = (100 + 60 + 2000) / 80
    assert allowance().left(50.0, [HEAD]) == pytest.approx(600 - 50 - 4 - deciding)
    # Every rung above it is scored on the test photos.
    assert allowance().left(50.0, [HEAD, TAIL]) == pytest.approx(600 - 50 - 4 - deciding - 400 / 80)


def test_larger_inputs_and_larger_photos_take_longer() -> None:
    def asked(found: Allowance, *rungs: Climbed) -> float:
        return 600.0 - found.left(0.0, [HEAD, *rungs])

    finer = TAIL.model_copy(update={"backbone": f"efficientnet_lite0@{2 * RESIZE.size}"})
    assert asked(allowance(), finer) == pytest.approx(4 + (2160 + 400) * (1 / 80 + 3 / 100))
    slow = Rates(features=20.0, bare_model=100.0, decode=12.5)
    assert asked(allowance(rates=slow), TAIL) == pytest.approx(4 + (2160 + 400) / 20)


def test_labels_are_judged_where_that_takes_little_of_the_budget() -> None:
    found = allowance()
    before = found.left(0.0, [HEAD])
    found.judge(HEAD.model_copy(update={"seconds": 30.0}))
    assert found.judging == 30.0
    assert found.left(0.0, [HEAD]) == before - 30
    found.judge(HEAD.model_copy(update={"seconds": 31.0}))
    assert found.judging == 0.0


def test_what_was_never_measured_takes_no_time() -> None:
    assert allowance().decode == math.inf
    assert allowance(rates=Rates(features=20.0, bare_model=100.0, decode=12.5)).decode == 12.5
