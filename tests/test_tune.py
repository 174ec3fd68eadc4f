"""``kramar tune``: what it leaves, killed or not, alone or in company; and what it refuses."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors import safe_open

from drawn import Told
from kramar import cli
from kramar.errors import DataError, InputError
from kramar.jobs.search_run import FILES
from kramar.jobs.tune import Tuning, tune
from kramar.records import Epoch
from kramar.study import recipe_file
from kramar.study.records import TrialRecord
from kramar.study.search_start import start
from products import put_folder
from shell import contents

NAME = "convnet:depth=2:width=8@16"
TRIALS, EPOCHS = 7, 4
# With one argument more, the process kills itself in the middle of the second epoch of trial 1.
_SCRIPT = """
import os, signal, sys
from contextlib import contextmanager
from kramar.jobs.tune import tune
from kramar.progress import Silent

class Mortal(Silent):
    said = ""
    def say(self, message):
        self.said = message
    @contextmanager
    def stage(self, name, total):
        done = 0
        def advance(steps):
            nonlocal done
            done += steps
            if name == "Training" and self.said.startswith("Trial 1:") and done > 0.4 * total:
                os.kill(os.getpid(), signal.SIGKILL)
        yield advance

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {int(sys.argv[1])})
progress = Mortal() if sys.argv[7:] else None
trials, epochs = map(int, sys.argv[5:7])
tune(sys.argv[2], sys.argv[3], architecture=sys.argv[4], trials=trials, epochs=epochs, progress=progress)
"""


def core(number: int) -> int:
    """A core for a process of its own: threads of several that share cores wait for each other."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return cores[number % len(cores)]


@contextmanager
def on_one_core() -> Iterator[None]:
    """Nets as small as these are slower on two."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {core(0)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        torch.set_num_threads(threads)


def begin(
    data: Path, out: Path, number: int = 0, trials: int = TRIALS, epochs: int = EPOCHS, *, mortal: bool = False
) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", _SCRIPT, *map(str, (core(number), data, out, NAME, trials, epochs))]
    return subprocess.Popen([*words, *["mortal"] * mortal], env=dict(os.environ), stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err


def table(out: Path, name: str = "trials.csv") -> list[dict[str, str]]:
    """The rows of a table, what they took left out."""
    with (out / name).open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_folder(tmp_path_factory.mktemp("tune") / "shop", 40, start=500)


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@dataclass(frozen=True, slots=True)
class Killed:
    """The search of ``tuned``, killed in the middle of trial 1 and then finished; the epochs that trial 1 had then."""

    out: Path
    epochs: list[Epoch]


def kill_and_finish(photos: Path, out: Path) -> Killed:
    with begin(photos, out, 1, mortal=True) as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    with safe_open(out / "trials" / "1" / "training.safetensors", "pt") as file:
        epochs = TypeAdapter(list[Epoch]).validate_json(file.metadata()["epochs"])
    end(begin(photos, out, 1))
    return Killed(out, epochs)


@pytest.fixture(scope="module")
def killing(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Killed]]:
    """It takes two processes one after the other: they run while others test."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit(kill_and_finish, photos, tmp_path_factory.mktemp("killed") / "run")


@pytest.fixture
def killed(killing: Future[Killed]) -> Killed:
    return killing.result()


@pytest.fixture(scope="module")
def tuned(photos: Path, told: Told, killing: Future[Killed], tmp_path_factory: pytest.TempPathFactory) -> Tuning:
    """A search that was left in peace."""
    out = tmp_path_factory.mktemp("tuned") / "run"
    with on_one_core():
        return tune(photos, out, architecture=NAME, trials=TRIALS, epochs=EPOCHS, progress=told)


def test_it_leaves_what_it_promises(tuned: Tuning) -> None:
    assert {*FILES, "before.onnx", "curves.csv", "tests.csv"} <= {path.name for path in tuned.path.iterdir()}
    rows = table(tuned.path)
    assert [row["trial"] for row in rows] == [str(number) for number in range(TRIALS)]
    assert list(rows[0]) == [
        "trial",
        "state",
        "value",
        "optimiser",
        "learning_rate",
        "weight_decay",
        "batch",
        "dropout",
        "label_smoothing",
        "augment",
        "strength",
        "activation",
    ]
    assert not tuned.was_finished


def test_some_trials_are_stopped_early(tuned: Tuning) -> None:
    states = [one.state for one in tuned.record.trials]
    assert set(states) == {"complete", "pruned"}
    for one in tuned.record.trials:
        assert len(one.epochs) == EPOCHS if one.state == "complete" else len(one.epochs) < EPOCHS


def test_the_winner_is_the_best_on_validation(tuned: Tuning) -> None:
    record = tuned.record
    complete = [one for one in record.trials if one.state == "complete"]
    best = max(complete, key=lambda one: (one.value, -(one.log_loss or 0), -one.number))
    assert record.chosen == best.number
    assert record.after.metrics["val"].accuracy.value == pytest.approx(best.value, abs=1e-6)
    assert record.before is not None
    assert record.before.metrics["val"].accuracy.value == pytest.approx(record.trials[0].value, abs=1e-6)


def test_the_winner_and_the_start_are_tested_on_the_same_photos(tuned: Tuning) -> None:
    record = tuned.record
    assert record.before is not None
    assert record.chosen, "or else there would be nothing to compare"
    assert sorted(path.parent.name for path in tuned.path.rglob("trial.json")) == ["0", str(record.chosen)]
    before, after = (np.load(tuned.path / "final" / str(n) / "answers.npz")["right"] for n in (0, record.chosen))
    [test] = record.tests
    assert (test.first, test.second) == ("after", "before")
    assert test.difference.value == pytest.approx(after.mean() - before.mean())
    assert test.difference.n == record.data.split["test"]


def test_the_model_files_are_the_winners_and_the_starts(tuned: Tuning) -> None:
    record = tuned.record
    for name, number in (("model.onnx", record.chosen), ("before.onnx", 0)):
        made = tuned.path / "final" / str(number) / "model.onnx"
        assert (tuned.path / name).read_bytes() == made.read_bytes()
    card = tuned.model.card
    assert (card.backbone, card.rung, card.resize.size) == (NAME, "tune", 16)
    assert card.metrics["test"] == record.metrics["test"]
    assert record.after.verification.label_differences == 0
    document = json.loads((tuned.path / "run.json").read_text())
    assert document["model"]["file"] == "model.onnx"
    assert document["metrics"]["test"]["accuracy"]["n"] == record.data.split["test"]


def test_the_best_recipe_is_a_config(tuned: Tuning) -> None:
    base = start(NAME, None, "frozen", None, None, None, tuned.best, 0)
    recipe = TrialRecord.model_validate(tuned.record.after.model_dump()).recipe
    assert recipe_file.read(tuned.best).fits(base)
    assert base.recipe.learning_rate == recipe["learning_rate"]
    assert base.recipe.epochs == EPOCHS


def test_it_says_what_it_will_take_and_what_it_does(tuned: Tuning, told: Told) -> None:
    assert any(re.match(rf"{TRIALS} trials take about \d+ s on this machine", line) for line in told.said)
    assert sum(re.match(r"Trial \d+(, the start)?: optimiser", line) is not None for line in told.said) == TRIALS
    assert ["Trials", TRIALS, TRIALS] in told.stages
    assert tuned.record.estimate["whole"] > 0


def test_a_finished_search_is_not_done_again(tuned: Tuning, photos: Path) -> None:
    before = contents(tuned.path)
    again = tune(photos, tuned.path, architecture=NAME, trials=TRIALS, epochs=EPOCHS)
    assert again.was_finished
    assert contents(tuned.path) == before
    assert again.record == tuned.record


def test_a_killed_search_ends_as_one_that_was_not(killed: Killed, tuned: Tuning) -> None:
    assert table(killed.out) == table(tuned.path)
    assert table(killed.out, "curves.csv") == table(tuned.path, "curves.csv")
    assert table(killed.out, "tests.csv") == table(tuned.path, "tests.csv")
    assert (killed.out / "best.toml").read_bytes() == tuned.best.read_bytes()
    assert contents(killed.out).keys() == contents(tuned.path).keys()
    record = json.loads((killed.out / "run.json").read_text())
    assert record["metrics"] == json.loads((tuned.path / "run.json").read_text())["metrics"]


def test_a_killed_search_repeats_nothing(killed: Killed) -> None:
    trials = json.loads((killed.out / "run.json").read_text())["trials"]
    assert len(killed.epochs) == 1
    kept = [Epoch.model_validate(epoch) for epoch in trials[1]["epochs"]]
    assert kept[: len(killed.epochs)] == killed.epochs, "to their seconds"
    said = re.findall(r"Trial (\d+)(?:, the start)?: optimiser", (killed.out / "run.log").read_text())
    assert sorted(said, key=int) == ["0", "1", "1", *map(str, range(2, TRIALS))], "trial 1 went on"


class Impatient(Told):
    """Presses Ctrl-C when it is told something."""

    def __init__(self, told: str) -> None:
        super().__init__()
        self._told = told

    def say(self, message: str) -> None:
        super().say(message)
        if message.startswith(self._told):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def shortened(photos: Path, told: Told, tuned: Tuning, tmp_path_factory: pytest.TempPathFactory) -> Tuning:
    """A search whose trials have half the epochs, as if the machine had been found to be slow; interrupted before."""
    out = tmp_path_factory.mktemp("shortened") / "run"
    with on_one_core():
        for message in ("3 trials take about", "Trial 0: complete", "Trial 0 in full"):
            with pytest.raises(KeyboardInterrupt):
                tune(photos, out, architecture=NAME, trials=3, epochs=EPOCHS, progress=Impatient(message))
            found = json.loads((out / "expected.json").read_text())
            (out / "expected.json").write_text(json.dumps({**found, "epochs": EPOCHS // 2}))
        return tune(photos, out, architecture=NAME, trials=3, epochs=EPOCHS)


def test_shortened_trials_end_in_a_training_in_full(shortened: Tuning, tuned: Tuning) -> None:
    record = shortened.record
    assert record.search_epochs == EPOCHS // 2
    assert all(len(one.epochs) <= EPOCHS // 2 for one in record.trials)
    best = max(record.trials, key=lambda one: (one.value, -(one.log_loss or 0))).number
    assert set(record.finals) == {0, best}
    assert all(len(one.epochs) == EPOCHS for one in record.finals.values())
    assert record.chosen == max(record.finals, key=lambda number: record.finals[number].rank)
    assert record.after.metrics["val"].accuracy.value == pytest.approx(record.finals[record.chosen].value, abs=1e-6)
    assert record.before is not None
    assert tuned.record.before is not None
    assert record.before.metrics == tuned.record.before.metrics, "the start in full is the same however it came to it"
    assert recipe_file.read(shortened.best).recipe["epochs"] == EPOCHS


def test_an_interrupted_search_goes_on(shortened: Tuning) -> None:
    said = re.findall(r"Trial (\d+)(?:, the start)?: optimiser", (shortened.path / "run.log").read_text())
    assert said == ["0", "1", "2"]


def test_several_processes_share_a_search(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    together = [begin(photos, out, number, trials=6, epochs=3) for number in range(2)]
    for process in together:
        end(process)
    assert [row["trial"] for row in table(out)] == [str(number) for number in range(6)]
    assert len({json.dumps(list(row.values())[3:]) for row in table(out)}) == 6, "no recipe is tried twice"
    said = re.findall(r"Trial (\d+)(?:, the start)?: optimiser", (out / "run.log").read_text())
    assert sorted(said, key=int) == [str(number) for number in range(6)], "no trial was done twice"
    assert json.loads((out / "run.json").read_text())["asked"] == 6
    assert not list(out.rglob("*.tmp"))


def called(*words: object) -> int | str | None:
    """What the command line exits with."""
    with pytest.raises(SystemExit) as left:
        cli.run(["tune", *map(str, words)])
    return left.value.code


def test_the_command_line_shows_a_search(tuned: Tuning, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (photos, "--out", tuned.path, "--architecture", NAME, "--trials", TRIALS, "--epochs", EPOCHS)
    assert called(*words) == 0
    shown = capsys.readouterr()
    assert "finished already" in shown.err
    accuracy = tuned.record.after.metrics["test"].accuracy
    assert shown.out.startswith(f"Test accuracy {accuracy.percent()}, before ")
    assert f"p = {tuned.record.tests[0].p:.2g}: {tuned.record.tests[0].verdict}" in shown.out
    assert f"Recipe        {tuned.best}" in shown.out
    assert called(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tuned.path / "run.json").read_text())


@pytest.mark.parametrize(
    ("option", "given", "said"),
    [
        ("--trials", "few", "--trials: expected a whole number from 1, found 'few'"),
        ("--head-layers", "64,wide", "--head-layers: expected a whole number from 1, found 'wide'"),
        ("--architecture", "squeezenet", "did you mean squeezenet1_"),
        ("--budget", "soon", "--budget: "),
    ],
)
def test_the_command_line_refuses(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, given: str, said: str
) -> None:
    assert called(photos, "--out", tmp_path / "run", "--architecture", "convnet", option, given) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("kramar: ")
    assert said in line
    assert not (tmp_path / "run").exists()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown architecture": (
        {"architecture": "convnett"},
        "--architecture: no architecture called 'convnett'; did you",
    ),
    "unknown regime": ({"regime": "scratch"}, "--regime: expected weights, weights+augment, scratch+augment, found"),
    "unknown transfer": ({"transfer": "half"}, "--transfer: expected frozen or full, found 'half'"),
    "no weights": ({"regime": "weights"}, f"{NAME}: there are no ImageNet weights on this machine"),
    "no trials": ({"trials": 0}, "--trials: expected a whole number from 1, found 0"),
    "no epochs": ({"epochs": 0}, "--epochs: expected a whole number from 1, found 0"),
    "layers from scratch": ({"head_layers": (64,)}, "--head-layers: layers go on top of a frozen body"),
    "too small a size": ({"architecture": "convnet", "size": 8}, "--size: convnet takes photos of at least 16"),
    "no config": ({"config": "none.toml"}, "--config: none.toml is not there"),
    "no time": ({"budget": "0s"}, "--budget: expected more than no time"),
    "too little time": ({"budget": "1s"}, "--budget: "),
    "photos too small": ({"architecture": "inception_v3", "regime": "scratch+augment"}, "and these have 64"),
}


@pytest.mark.parametrize(("changes", "said"), WRONG.values(), ids=WRONG)
def test_wrong_uses_leave_nothing(photos: Path, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    options: dict[str, Any] = {"architecture": NAME, "trials": 2, "epochs": 1, **changes}
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        tune(photos, tmp_path / "run", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_layers_go_on_a_frozen_body_alone() -> None:
    with pytest.raises(InputError, match="found weights with --transfer full"):
        start("efficientnet_lite0", "weights", "full", (64,), None, None, None, 0)
    with pytest.raises(InputError, match="widths of at least 1, found 64, 0"):
        start("efficientnet_lite0", "weights", "frozen", (64, 0), None, None, None, 0)
    assert start("efficientnet_lite0", None, "frozen", (64,), None, None, None, 0).recipe.head_layers == (64,)


def test_a_config_of_another_architecture_is_refused(tuned: Tuning, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"best\.toml \(for convnet.*expected a recipe for convnet, scratch"):
        tune(photos, tmp_path / "run", architecture="convnet", config=tuned.best)
    assert not (tmp_path / "run").exists()


def test_a_search_of_other_options_or_data_is_refused(tuned: Tuning, photos: Path, tmp_path: Path) -> None:
    before = contents(tuned.path)
    with pytest.raises(InputError, match=r"holds a run with --trials 7, not 8"):
        tune(photos, tuned.path, architecture=NAME, trials=8, epochs=EPOCHS)
    other = put_folder(tmp_path / "other", 40, start=900)
    with pytest.raises(InputError, match="holds a run of other data"):
        tune(other, tuned.path, architecture=NAME, trials=TRIALS, epochs=EPOCHS)
    assert contents(tuned.path) == before


def test_nothing_is_tuned_without_validation_photos_of_known_classes(tmp_path: Path) -> None:
    put_folder(tmp_path / "shop", 4)
    part = {"Plate": "train", "Box": "train", "Tent": "val"}
    rows = [f"shop/{kind}/{number}.jpg,{kind},{part[kind]}" for kind in part for number in range(4)]
    (tmp_path / "shop.csv").write_text("\n".join(["image,label,split", *rows, ""]))
    with pytest.raises(DataError, match="chooses recipes by the validation photos, and there are none of classes"):
        tune(tmp_path / "shop.csv", tmp_path / "run", architecture=NAME)
    assert not (tmp_path / "run").exists()
