"""The search: its space, its trials' lives and deaths, and what is made of them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from accelerate import Accelerator
from filelock import FileLock
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from pydantic import TypeAdapter
from torch import nn

from kramar.config import TrainConfig
from kramar.data import manifest
from kramar.jobs.gather import gather
from kramar.models import architectures
from kramar.progress import Silent
from kramar.records import Epoch
from kramar.study import trial
from kramar.study.estimate import Views
from kramar.study.search import Search, write_trials
from kramar.study.search_budget import Expected
from kramar.study.search_optuna import importance, write_study
from kramar.study.search_records import Outcome, Proposal
from kramar.study.search_space import Space, own_activations
from kramar.study.settings import NO_TRANSFER, REGIMES, Setting, default_recipe
from kramar.training.material import Material, decode
from kramar.training.recipe import Recipe

EPOCHS = 6


def setting(name: str = "convnet:depth=2:width=8@16", regime: str = "scratch+augment", transfer: str = "") -> Setting:
    architecture = architectures.find(name)
    transfer = transfer or (NO_TRANSFER if not REGIMES[regime].weights else "frozen")
    return Setting(architecture, regime, transfer, default_recipe(architecture, regime, transfer), 0)


def tiny() -> Setting:
    return replace(setting(), recipe=replace(setting().recipe, epochs=EPOCHS, batch=16))


@pytest.fixture(scope="module")
def material(shop: Path) -> Material:
    """The drawn products, decoded at 16 pixels."""
    gathered = gather(shop, TrainConfig(), Silent())
    entries, left_out = decode(gathered.entries, trial.rules(tiny()), Silent())
    assert not left_out
    return Material.of(entries, manifest.require_classes(entries, shop))


@pytest.fixture(scope="module")
def accelerator() -> Iterator[Accelerator]:
    """One thread: nets as small as these are slower on two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Accelerator(cpu=True)
    torch.set_num_threads(before)


def search(folder: Path, trials: int = 30, base: Setting | None = None) -> Search:
    return Search(folder, Space.of(base or tiny(), 40), trials)


def epochs(accuracies: Sequence[float], loss: float = 1.0) -> list[Epoch]:
    return [
        Epoch(number=number, train_loss=loss, val_loss=loss - number / 100, val_accuracy=accuracy, seconds=1.0)
        for number, accuracy in enumerate(accuracies)
    ]


def ended(accuracy: float = 0.9, loss: float = 0.5, **changes: Any) -> Outcome:
    values = {
        "state": "complete",
        "value": accuracy,
        "log_loss": loss,
        "seconds": 1.0,
        "epochs": epochs([accuracy] * EPOCHS, loss),
    }
    return Outcome(**{**values, **changes})


def settle(one: Search, outcome: Outcome) -> int:
    """Claim a trial and give it an outcome."""
    claim = one.claim(propose=True)
    assert claim is not None
    (one.place(claim.number) / "outcome.json").write_text(outcome.model_dump_json())
    claim.lock.release()
    return claim.number


SETTINGS = {
    "scratch": setting(),
    "frozen": setting("efficientnet_lite0", "weights"),
    "frozen, augmented": setting("efficientnet_lite0", "weights+augment"),
    "full": setting("efficientnet_lite0", "weights+augment", "full"),
}


@pytest.mark.parametrize("base", SETTINGS.values(), ids=SETTINGS)
def test_the_space_holds_its_start(base: Setting) -> None:
    space = Space.of(base, 3000)
    assert space.recipe(space.start) == base.recipe
    shown = space.parameters(base.recipe)
    assert shown["learning_rate"] == base.recipe.learning_rate
    assert len(shown) == len(space.axes)


@pytest.mark.parametrize("base", SETTINGS.values(), ids=SETTINGS)
def test_every_point_is_a_recipe(base: Setting) -> None:
    space, valid = Space.of(base, 3000), TypeAdapter(Recipe)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    recipes = [space.recipe(study.ask(dict(space.axes)).params) for _ in range(60)]
    for recipe in recipes:
        assert valid.validate_python(asdict(recipe)) == recipe
        assert recipe.epochs == base.recipe.epochs
    for name in space.parameters(base.recipe):
        seen = {str(space.parameters(recipe)[name]) for recipe in recipes}
        assert len(seen) > 1, f"{name} is never changed"


def test_what_is_searched_depends_on_the_regime() -> None:
    axes = {name: set(Space.of(base, 3000).axes) for name, base in SETTINGS.items()}
    always = {"optimiser", "rate", "decay", "batch", "dropout", "label_smoothing"}
    assert axes["scratch"] == always | {"augment", "strength", "activation"}
    assert axes["frozen"] == always | {"activation", "layers", "width"}
    assert axes["frozen, augmented"] == axes["frozen"] | {"augment", "strength"}
    assert axes["full"] == always | {"augment", "strength", "body_rate"}


def test_rates_and_decays_are_by_optimiser() -> None:
    space = Space.of(setting(), 3000)
    by = {name: space.recipe({**space.start, "optimiser": name}) for name in ("adamw", "adam", "sgd", "rmsprop")}
    base = space.base.recipe
    assert by["sgd"].learning_rate == pytest.approx(20 * base.learning_rate)
    assert by["rmsprop"].learning_rate == pytest.approx(0.1 * base.learning_rate)
    assert by["adam"].weight_decay == pytest.approx(0.01 * base.weight_decay)
    started = Space.of(replace(setting(), recipe=by["sgd"]), 3000)
    assert started.recipe({**started.start, "optimiser": "adamw"}).learning_rate == pytest.approx(base.learning_rate)


def test_a_start_outside_of_the_space_is_kept() -> None:
    base = setting("efficientnet_lite0", "weights")
    base = replace(base, recipe=replace(base.recipe, head_layers=(300, 300), dropout=0.9, weight_decay=0.0))
    space = Space.of(base, 3000)
    assert (space.start["dropout"], space.start["width"], space.start["decay"]) == (0.6, 300, 0.1)


def test_batches_leave_steps_to_an_epoch() -> None:
    space = Space.of(setting(), 100)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    batches = {space.recipe(study.ask(dict(space.axes)).params).batch for _ in range(40)}
    assert batches == {16, 32, 64}


def test_own_activations_are_found() -> None:
    assert own_activations(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU6())) == {"relu6"}
    assert own_activations(nn.Sequential(nn.ReLU(), nn.SiLU())) == {"relu", "silu"}
    assert own_activations(nn.Linear(2, 2)) == set()


def test_a_frozen_body_keeps_its_own_activation() -> None:
    base = setting("efficientnet_lite0", "weights")
    network, _, _ = trial.start(replace(base, recipe=replace(base.recipe, activation="gelu")), 3)
    assert own_activations(network.body) == {"relu6"}
    assert own_activations(network.head) == {"gelu"}
    learning = setting("efficientnet_lite0", "weights", "full")
    network, _, _ = trial.start(replace(learning, recipe=replace(learning.recipe, activation="gelu")), 3)
    assert own_activations(network.body) == {"gelu"}


def test_the_first_trial_is_the_start(tmp_path: Path) -> None:
    base = replace(tiny(), recipe=replace(tiny().recipe, dropout=0.9))
    one = search(tmp_path, base=base)
    claim = one.claim(propose=True)
    assert claim is not None
    assert claim.number == 0
    assert one.setting(claim) == base


def test_a_trial_is_taken_once_and_taken_up_where_it_was_left(tmp_path: Path) -> None:
    one, other = search(tmp_path), search(tmp_path)
    first = one.claim(propose=True)
    second = other.claim(propose=True)
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (0, 1)
    assert other.claim(propose=False) is None
    first.lock.release()  # as the system does for a killed process
    again = other.claim(propose=False)
    assert again is not None
    assert (again.number, one.setting(again)) == (0, one.setting(first))


def test_no_more_than_were_asked_for(tmp_path: Path) -> None:
    one = search(tmp_path, 3)
    assert [settle(one, ended()) for _ in range(3)] == [0, 1, 2]
    assert one.claim(propose=True) is None


def test_what_is_proposed_depends_on_the_trials_before_it_alone(tmp_path: Path) -> None:
    proposals = []
    for name, process in (
        ("one", lambda s: s),
        ("another each time", lambda s: search(tmp_path / "another each time")),
    ):
        one = search(tmp_path / name)
        for number in range(14):
            one = process(one)
            settle(one, ended(0.5 + 0.03 * (number % 5)))
        proposals.append([known.proposal for known in one.known()])
    assert proposals[0] == proposals[1]
    points = [json.dumps(proposal.point) for proposal in proposals[0]]
    assert len(set(points)) == 14, "no recipe is tried twice"


def test_a_killed_proposal_is_made_again(tmp_path: Path) -> None:
    one = search(tmp_path / "a")
    settle(one, ended())
    (tmp_path / "a" / "1").mkdir()  # killed before proposal.json was there
    settle(one, ended())
    other = search(tmp_path / "b")
    settle(other, ended())
    settle(other, ended())
    assert [k.proposal for k in one.known()] == [k.proposal for k in other.known()]


def test_the_best_has_the_highest_accuracy_and_of_equals_the_lowest_loss(tmp_path: Path) -> None:
    one = search(tmp_path)
    for outcome in (
        ended(0.8, 0.5),
        ended(0.9, 0.6),
        ended(0.9, 0.4),
        ended(0.9, 0.4),
        ended(0.95, 0.1, state="pruned"),
        ended(0.7, 0.1),
    ):
        settle(one, outcome)
    best = one.best(one.known())
    assert best is not None
    assert best.number == 2


def test_only_checkpoints_that_are_needed_are_kept(tmp_path: Path) -> None:
    one = search(tmp_path)
    for accuracy in (0.5, 0.7, 0.9, 0.8):
        number = settle(one, ended(accuracy))
        (one.place(number) / "training.safetensors").touch()
    running = one.claim(propose=True)
    assert running is not None
    (one.place(running.number) / "training.safetensors").touch()
    one.tidy(one.known())
    kept = sorted(int(path.parent.name) for path in tmp_path.glob("*/training.safetensors"))
    assert kept == [0, 2, 4]


def carry_out(one: Search, material: Material, accelerator: Accelerator, deadline: float = math.inf) -> Outcome:
    claim = one.claim(propose=True)
    assert claim is not None
    return one.carry_out(claim, material, accelerator, Silent(), deadline)


def test_a_trial_is_trained_to_the_end_and_its_lock_released(
    tmp_path: Path, material: Material, accelerator: Accelerator
) -> None:
    one = search(tmp_path)
    outcome = carry_out(one, material, accelerator)
    kept = min(outcome.epochs, key=lambda epoch: epoch.val_loss or 0)
    assert outcome.state == "complete"
    assert len(outcome.epochs) == EPOCHS
    assert outcome.value == pytest.approx(kept.val_accuracy, abs=1e-6)
    assert outcome.log_loss == kept.val_loss
    assert one.known()[0].outcome == outcome
    with FileLock(tmp_path / "0" / ".lock").acquire(timeout=0):
        pass


def test_a_weak_trial_is_stopped_and_stays_so_when_it_is_killed_then(
    tmp_path: Path, material: Material, accelerator: Accelerator
) -> None:
    one = search(tmp_path)
    for _ in range(6):
        settle(one, ended(1.0))
    outcome = carry_out(one, material, accelerator)
    assert outcome.state == "pruned"
    assert outcome.why == "after 3 epochs below the median of earlier trials"
    assert len(outcome.epochs) == 3
    (tmp_path / "6" / "outcome.json").unlink()  # killed before it was there
    again = carry_out(search(tmp_path), material, accelerator)
    assert again.epochs == outcome.epochs, "the epochs are those of the first time, to their seconds"
    assert (again.state, again.why, again.value) == (outcome.state, outcome.why, outcome.value)


def test_a_strong_trial_is_not_stopped(tmp_path: Path, material: Material, accelerator: Accelerator) -> None:
    one = search(tmp_path)
    for _ in range(6):
        settle(one, ended(0.0))
    assert carry_out(one, material, accelerator).state == "complete"


def test_a_trial_that_was_trained_goes_on_from_its_last_epoch(
    tmp_path: Path, material: Material, accelerator: Accelerator
) -> None:
    one = search(tmp_path)
    outcome = carry_out(one, material, accelerator)
    (tmp_path / "0" / "outcome.json").unlink()
    again = carry_out(search(tmp_path), material, accelerator)
    assert again.epochs == outcome.epochs
    assert again.seconds >= sum(epoch.seconds for epoch in outcome.epochs)


def test_the_first_trial_has_all_the_time_there_is(
    tmp_path: Path, material: Material, accelerator: Accelerator
) -> None:
    one = search(tmp_path)
    assert carry_out(one, material, accelerator, deadline=0.0).state == "complete"
    outcome = carry_out(one, material, accelerator, deadline=0.0)
    assert (outcome.state, outcome.why, outcome.value, outcome.epochs) == ("pruned", "the time was up", None, [])


def test_a_loss_that_is_no_number_ends_a_trial(tmp_path: Path, material: Material, accelerator: Accelerator) -> None:
    wild = replace(tiny(), recipe=replace(tiny().recipe, optimiser="sgd", learning_rate=1e30, warmup=0.0, ema=0.0))
    outcome = carry_out(search(tmp_path, base=wild), material, accelerator)
    assert (outcome.state, outcome.why) == ("pruned", "its loss was no longer a number")
    assert all(math.isfinite(epoch.train_loss) for epoch in outcome.epochs)
    (tmp_path / "0" / "outcome.json").unlink()
    assert carry_out(search(tmp_path, base=wild), material, accelerator).why == outcome.why


def test_importance_finds_what_matters(tmp_path: Path) -> None:
    one = search(tmp_path)
    for number in range(30):
        claim = one.claim(propose=True)
        assert claim is not None
        (one.place(number) / "outcome.json").write_text(
            ended(0.9 - 0.3 * abs(math.log10(float(claim.proposal.point["rate"])))).model_dump_json()
        )
        claim.lock.release()
    found = importance(one.space, one.known())
    assert next(iter(found)) == "learning_rate"
    assert sum(found.values()) == pytest.approx(1)


def test_importance_says_nothing_of_few_or_equal_trials(tmp_path: Path) -> None:
    one = search(tmp_path)
    for _ in range(7):
        settle(one, ended(0.5))
    assert importance(one.space, one.known()) == {}
    for _ in range(5):
        settle(one, ended(0.5))
    assert importance(one.space, one.known()) == {}


def test_optuna_reads_the_study(tmp_path: Path) -> None:
    one = search(tmp_path / "trials")
    for outcome in (ended(0.75), ended(0.5, state="pruned")):
        settle(one, outcome)
    one.claim(propose=True)
    for _ in range(2):
        write_study(one.space, one.known(), tmp_path / "study.journal")
    study = optuna.load_study(
        study_name=None, storage=JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    )
    assert [(found.state.name, found.value) for found in study.trials] == [
        ("COMPLETE", 0.75),
        ("PRUNED", 0.5),
        ("RUNNING", None),
    ]
    assert study.trials[0].params == one.space.start
    assert study.best_trial.intermediate_values == dict.fromkeys(range(EPOCHS), 0.75)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.journal", "trials"]


def test_trials_are_written_as_a_table(tmp_path: Path) -> None:
    one = search(tmp_path)
    settle(one, ended(0.75))
    settle(one, Outcome(state="failed", value=None, log_loss=None, seconds=0.5, epochs=[], why="out of memory"))
    write_trials(one.tried(one.known()), tmp_path / "trials.csv")
    lines = (tmp_path / "trials.csv").read_text().splitlines()
    assert lines[0].split(",")[:6] == ["trial", "state", "value", "seconds", "optimiser", "learning_rate"]
    assert lines[1] == "0,complete,0.75,1.0,adamw,0.003,0.05,16,0.0,0.1,shift,0.5,relu"
    assert lines[2].startswith("1,failed,,0.5,")


def test_proposals_are_read_as_they_were_written() -> None:
    point = {"batch": -2, "rate": 1.0, "optimiser": "sgd"}
    read = Proposal.model_validate_json(Proposal(point=point, recipe={}).model_dump_json())
    assert {name: (type(value), value) for name, value in read.point.items()} == {
        name: (type(value), value) for name, value in point.items()
    }


class Priced:
    """An estimator that knows its prices: of an epoch, of looks before the first trial, of a test."""

    def __init__(self, epoch: float, looks: float, test: float) -> None:
        self._epoch, self._test, self._looks = epoch, test, itertools.chain([looks], itertools.repeat(0.0))

    def seconds(self, one: Setting, _looked: set[Views]) -> float:
        return one.recipe.epochs * self._epoch + next(self._looks) + self._test


def expected(base: Setting, priced: Priced, trials: int, left: float) -> Expected:
    return Expected.of(Space.of(base, 3000), priced, trials, left)  # type: ignore[arg-type]


def test_what_a_search_will_take() -> None:
    """60 epochs of half a second."""
    augmented = expected(setting("efficientnet_lite0", "weights+augment"), Priced(0.5, 30.0, 6.0), 30, 1e6)
    assert (augmented.looks, augmented.later, augmented.test, augmented.alone) == (30.0, 40.0, 6.0, 66.0)
    assert augmented.whole(1) == 66
    assert augmented.whole(30) == pytest.approx(60 + 29 * (10 + 0.6 * 30) + 12)
    plain = expected(setting("efficientnet_lite0", "weights"), Priced(0.5, 20.0, 6.0), 30, 1e6)
    assert (plain.alone, plain.later) == (56.0, 30.0), "what was looked at once is not looked at again"


@pytest.mark.parametrize(
    ("left", "epochs", "room"),
    [
        (1e6, 30, 30),
        (5533, 30, 30),  # 30 trials of 30 epochs of 10 s take 300 + 29 * 0.6 * 300 + 2 * 6 = 5532
        (5531, 26, 30),  # 260 + 29 * 0.6 * 260 + 2 * 300 + 2 * 6 = 5396
        (1720, 6, 30),  # 60 + 29 * 0.6 * 60 + 612 = 1716: six are the fewest
        (1715, 6, 29),
        (530, 30, 2),  # 300 + 180 + 12: no more of them if they were shorter
        (480, 30, 1),
    ],
)
def test_a_budget_shortens_trials_before_it_leaves_any_out(left: float, epochs: int, room: int) -> None:
    found = expected(setting(), Priced(10.0, 0.0, 6.0), 30, left)
    assert found.epochs == epochs
    assert min(found.room(left), 30) == room
    assert found.shortened == (epochs < 30)


def test_time_for_the_end_is_what_was_measured() -> None:
    short = expected(setting(), Priced(10.0, 0.0, 6.0), 30, 1900)
    assert short.end() == 30 * (10 + 10) + 12
    assert short.end([12.0]) == 30 * (12 + 10) + 12
    assert short.end([12.0, 20.0]) == 30 * (12 + 20) + 12
    assert expected(setting(), Priced(10.0, 0.0, 6.0), 30, 1e6).end([12.0, 20.0]) == 12
