"""Architectures and regimes on the same photos: one trial after another, what they leave, and what is refused."""

from __future__ import annotations

import csv
import json
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision

import kramar
from kramar import FailedError, Grid, InputError, RunFolderError, cli
from kramar.config import TrainConfig
from kramar.evaluation.paired import compare_all
from kramar.jobs.compare import plan_trials
from kramar.jobs.gather import gather
from kramar.jobs.study import model_card
from kramar.progress import Silent
from kramar.runtime.model import Model
from kramar.study import estimate, trial
from kramar.study.estimate import Estimator, Views
from kramar.study.grid import COLUMNS
from kramar.study.settings import Setting
from kramar.training.material import Material
from products import put_folder
from shell import HEARS_CTRL_C, command

pytestmark = pytest.mark.usefixtures("one_thread")

OWN, OTHER = "convnet:depth=2:width=4@16", "squeezenet1_1@32"
SCRATCH = {"architectures": OWN, "regimes": "scratch+augment", "epochs": 2}


class Heard:
    """Everything that a job says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, name: str, total: int) -> object:
        from kramar.progress import Silent

        return Silent().stage(name, total)

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights for SqueezeNet."""
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = torchvision.models.squeezenet1_1().state_dict()
    safetensors.torch.save_file(state, folder / "squeezenet1_1.safetensors")
    return folder


@pytest.fixture(scope="module", autouse=True)
def quick(weights: Path) -> Iterator[None]:
    """Weights are found, and what is measured is measured for moments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KRAMAR_WEIGHTS", str(weights))
        patch.setattr(estimate, "PROBE_SECONDS", 0.1)
        patch.setattr(trial, "RATE_SECONDS", 0.1)
        yield


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def compared(shop: Path, tmp_path_factory: pytest.TempPathFactory, heard: Heard) -> Grid:
    """Both architectures in all regimes. Tests read it only."""
    out = tmp_path_factory.mktemp("runs") / "grid"
    return kramar.compare(
        shop, out, architectures=f"{OWN},{OTHER}", seeds=1, epochs=2, head_layers=(8,), progress=heard
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_architecture_is_trained_in_every_regime_that_it_can_be(compared: Grid, heard: Heard) -> None:
    done = [(one.architecture, one.regime, one.transfer) for one in compared.record.trials]
    assert done == [
        (OWN, "scratch+augment", "none"),
        (OTHER, "weights", "frozen"),
        (OTHER, "weights+augment", "frozen"),
        (OTHER, "scratch+augment", "none"),
    ]
    left = f"{OWN} is compared from scratch only: there are no ImageNet weights for it"
    assert f"Warning: {left}" in heard.said
    assert left in compared.record.data.warnings
    assert not compared.was_finished


def test_the_table_is_what_was_measured(compared: Grid) -> None:
    table = rows(compared.path / "comparison.csv")
    assert tuple(table[0]) == COLUMNS
    assert len(table) == len(compared.record.trials)
    for row, one in zip(table, compared.record.trials, strict=True):
        file = compared.path / "trials" / trial_key(one) / "model.onnx"
        right = np.load(file.with_name("answers.npz"))["right"]
        assert float(row["accuracy"]) == right.mean() == one.metrics["test"].accuracy.value
        assert int(row["n"]) == len(right) == compared.record.data.split["test"]
        assert int(row["bytes"]) == file.stat().st_size
        assert float(row["milliseconds"]) > 0
        assert float(row["photos_per_second"]) > 0
        assert one.verification.label_differences == 0


def trial_key(one: object) -> str:
    parts = [getattr(one, name) for name in ("architecture", "regime", "transfer")]
    return "-".join([*parts, f"seed{getattr(one, 'seed')}"]).replace(":", "-").replace("@", "-")  # noqa: B009


def test_each_trial_has_a_model_file_that_answers_as_its_row_says(compared: Grid, shop: Path) -> None:
    one = compared.record.trials[1]
    path = compared.path / "trials" / trial_key(one) / "model.onnx"
    scored = kramar.evaluate(path, shop)
    assert scored.split == "test"
    assert scored.metrics.accuracy.value == one.metrics["test"].accuracy.value
    card = Model(path).card
    assert (card.rung, card.backbone, card.resize.size) == ("compare", OTHER, 32)
    assert card.weights_source == "folder squeezenet1_1.safetensors"


def test_the_frozen_regimes_share_a_body_and_learn_what_is_on_top(compared: Grid, weights: Path) -> None:
    stored = safetensors.torch.load_file(weights / "squeezenet1_1.safetensors")
    kept = stored["features.0.weight"].numpy().tobytes()
    files = [compared.path / "trials" / trial_key(one) / "model.onnx" for one in compared.record.trials[1:]]
    assert [kept in path.read_bytes() for path in files] == [True, True, False]
    assert files[0].read_bytes() != files[1].read_bytes()


def test_pairs_are_tested_on_the_same_photos(compared: Grid) -> None:
    trials = compared.record.trials
    right = {
        one.variant: np.load(compared.path / "trials" / trial_key(one) / "answers.npz")["right"][None] for one in trials
    }
    photos = [str(number) for number in range(compared.record.data.split["test"])]
    expected = {(pair.first, pair.second): pair for pair in compare_all(right, photos, 0)}
    assert len(compared.record.tests) == len(expected) == 6
    for test in compared.record.tests:
        pair = expected[test.first, test.second]
        assert (test.p, test.adjusted, test.verdict) == (pair.p, pair.adjusted, pair.verdict)
    table = rows(compared.path / "tests.csv")
    assert [(row["first"], row["second"]) for row in table] == list(expected)


def test_curves_have_a_row_an_epoch(compared: Grid) -> None:
    epochs = sum(len(one.epochs) for one in compared.record.trials)
    table = rows(compared.path / "curves.csv")
    assert len(table) == epochs == 8
    assert [row["epoch"] for row in table[:2]] == ["1", "2"]
    assert all(0 <= float(row["val_accuracy"]) <= 1 for row in table)


def test_the_report_has_every_variant_and_the_nine_ways(compared: Grid) -> None:
    page = compared.report.read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    for name in (OWN, OTHER):
        assert name in page
    assert page.count("data:image/jpeg") >= 9


def test_the_estimate_is_said_before_and_kept(compared: Grid, heard: Heard) -> None:
    assert compared.record.seconds["rooms"].keys() >= {"decoding", "trials", "evaluate"}
    assert compared.record.estimate.keys() == {"trials", "took"}
    assert compared.record.estimate["took"] == pytest.approx(sum(one.seconds for one in compared.record.trials))
    whole = next(message for message in heard.said if message.startswith("All 4 trials take about "))
    assert heard.said.index(whole) < next(i for i, said in enumerate(heard.said) if said.startswith("Trial 1 of 4: "))


def test_the_same_command_again_does_nothing(compared: Grid, shop: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in compared.path.rglob("*")}
    again = kramar.compare(shop, compared.path, architectures=f"{OWN},{OTHER}", seeds=1, epochs=2, head_layers=(8,))
    assert again.was_finished
    assert again.record == compared.record
    assert {path: path.stat().st_mtime_ns for path in compared.path.rglob("*")} == before


def called(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """What the command line ends with, and prints to standard output and standard error."""
    with pytest.raises(SystemExit) as left:
        cli.run([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, said.out, said.err


def test_the_command_line_shows_the_table(compared: Grid, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("compare", shop, "--out", compared.path, "--architectures", f"{OWN},{OTHER}")
    options = ("--seeds", "1", "--epochs", "2", "--head-layers", "8")
    code, out, err = called(capsys, *arguments, *options)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split() == ["accuracy", "95%", "interval", "MB", "ms", "trained", "in", "on", "test", "photos"]
    shown = sorted(line.rpartition(" s  ")[2] for line in lines[1:5])
    assert shown == sorted(one.variant for one in compared.record.trials)
    assert lines[-1].split(maxsplit=1) == ["Report", str(compared.report)]
    code, out, _ = called(capsys, *arguments, *options, "--json")
    assert (code, json.loads(out)) == (0, json.loads((compared.path / "run.json").read_text(encoding="utf-8")))


def test_what_the_budget_has_no_room_for_is_left_out_and_said(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Estimator, "seconds", lambda _, one, _looked: 1e6 if one.seed == 1 else 1.0)
    listener = Heard()
    done = kramar.compare(shop, tmp_path / "run", **SCRATCH, seeds=3, budget="10m", progress=listener)
    assert [one.seed for one in done.record.trials] == [0, 2]
    assert done.record.left_out_trials == [f"{OWN}, scratch+augment, seed 1: no time"]
    assert any("has room for 2 of 3 trials; left out: " in message for message in listener.said)


def test_what_a_trial_that_is_left_out_would_have_looked_at_the_next_one_pays(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(_: Estimator, one: Setting, looked: set[Views]) -> float:
        views = (one.architecture.name, "", 0.0)
        price = 100.0 if views in looked else 1000.0
        looked.add(views)
        return price if one.seed else 2000.0

    monkeypatch.setattr(Estimator, "seconds", seconds)
    listener = Heard()
    done = kramar.compare(shop, tmp_path / "run", **SCRATCH, seeds=3, budget="19m", progress=listener)
    # The first is too long; the second looks for itself, and the third has no more to look at.
    assert [one.seed for one in done.record.trials] == [1, 2]
    assert done.record.estimate["trials"] == 1100


def test_a_trial_that_cannot_be_trained_is_named_and_the_others_are_compared(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = trial.PhotoBatches

    def fails(*given: Any, seed: int, **named: Any) -> Any:
        if seed == 1:
            raise torch.OutOfMemoryError
        return batches(*given, seed=seed, **named)

    monkeypatch.setattr(trial, "PhotoBatches", fails)
    done = kramar.compare(shop, tmp_path / "run", **SCRATCH, seeds=2)
    assert [one.seed for one in done.record.trials] == [0]
    (why,) = done.record.left_out_trials
    assert why == f"{OWN}, scratch+augment, seed 1: out of memory; lower the learning rate, or the batch"


def test_a_training_whose_loss_is_no_number_ends_in_words(shop: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "wild.toml"
    recipe.write_text(
        f'architecture = "{OWN}"\nregime = "scratch+augment"\ntransfer = "none"\n\n[recipe]\n'
        'optimiser = "sgd"\nlearning_rate = 1e30\n',
        encoding="utf-8",
    )
    for _ in range(2):
        with pytest.raises(FailedError, match=r"after \d of 2 epochs its loss is no number any more; lower the"):
            kramar.compare(shop, tmp_path / "run", **SCRATCH, seeds=1, config=recipe)


def test_a_file_names_the_classes_that_its_network_tells_apart(shop: Path) -> None:
    gathered = gather(shop, TrainConfig(), Silent())
    lost = gathered.entries[0].label
    # All photos of a class are broken, and none of its outputs is learnt.
    entries = [entry for entry in gathered.entries if entry.label != lost]
    material = Material.of(entries, sorted({entry.label for entry in entries}))
    (setting,) = plan_trials([OWN], "scratch+augment", "frozen", None, 1, None, None, None, 0)
    card = model_card(gathered, material, 0, "compare")(setting, {}, 1.0, None)
    assert [one.label for one in card.classes] == material.classes
    assert lost not in material.classes
    assert set(card.learnt) <= {entry.hash[:12] for entry in entries if entry.split != "test"}


def test_a_budget_for_no_trial_is_refused_and_leaves_nothing(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Estimator, "seconds", lambda *_: 1e6)
    with pytest.raises(InputError, match=r"^--budget: .* the shortest of 3 trials takes about 277\.8 h"):
        kramar.compare(shop, tmp_path / "run", **SCRATCH, budget="10m")
    assert not (tmp_path / "run").exists()


def test_no_test_photos_means_no_tests(tmp_path: Path) -> None:
    put_folder(tmp_path / "shop" / "train", 8)
    put_folder(tmp_path / "shop" / "val", 4, start=50)
    done = kramar.compare(tmp_path / "shop", tmp_path / "run", **SCRATCH, seeds=2)
    assert done.record.tests == []
    assert set(done.record.trials[0].metrics) == {"val"}
    assert [row["accuracy"] for row in rows(done.path / "comparison.csv")] == [
        str(one.metrics["val"].accuracy.value) for one in done.record.trials
    ]


class Killed:
    """A comparison that was killed in its second trial and before its end, and one that was left in peace."""

    def __init__(self, shop: Path, folder: Path) -> None:
        self.shop, self.folder = shop, folder
        self.kept: list[dict[str, bytes]] = []
        self.kill(lambda: self.trials("training.safetensors", "seed1"))
        self.kill(lambda: self.trials("trial.json", "seed2"))
        for name in ("killed", "peaceful"):
            kramar.compare(shop, folder / name, architectures=OWN, regimes="scratch+augment", epochs=3)

    def trials(self, file: str, seed: str = "seed") -> list[Path]:
        return sorted((self.folder / "killed").glob(f"trials/*{seed}*/{file}"))

    def kill(self, has_come: Callable[[], object]) -> None:
        options = ("--architectures", OWN, "--regimes", "scratch+augment", "--epochs", "3")
        started = command("compare", self.shop, "--out", self.folder / "killed", *options)
        with subprocess.Popen(started, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and not has_come():
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        self.kept.append({path.parent.name: path.read_bytes() for path in self.trials("trial.json")})


def test_a_killed_comparison_repeats_nothing_and_ends_the_same(shop: Path, tmp_path: Path) -> None:
    killed = Killed(shop, tmp_path)
    assert [len(kept) for kept in killed.kept] == [1, 3]
    for kept in killed.kept:
        for name, record in kept.items():
            assert (tmp_path / "killed" / "trials" / name / "trial.json").read_bytes() == record
    for path in killed.trials("model.onnx"):
        peaceful = tmp_path / "peaceful" / path.relative_to(tmp_path / "killed")
        assert path.read_bytes() == peaceful.read_bytes()
    first, second = (
        [one["metrics"] for one in json.loads((tmp_path / name / "run.json").read_text(encoding="utf-8"))["trials"]]
        for name in ("killed", "peaceful")
    )
    assert first == second
    assert not killed.trials("training.safetensors")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"architectures": "densnet121"},
            "--architectures: no architecture called 'densnet121'; did you mean densenet121",
        ),
        ({"architectures": " , "}, "--architectures: expected at least one of convnet, densenet121"),
        ({"architectures": OWN, "regimes": "wieghts"}, "--regimes: expected weights, weights+augment, scratch+augment"),
        ({"architectures": OWN, "regimes": ""}, "--regimes: expected at least one of weights"),
        ({"architectures": OWN, "regimes": "weights"}, "this architecture is only trained from scratch"),
        (
            {"architectures": "densenet121"},
            "densenet121: there are no ImageNet weights on this machine; kramar weights fetch",
        ),
        ({"architectures": OWN, "transfer": "half"}, "--transfer: expected frozen or full, found 'half'"),
        ({"architectures": OWN, "regimes": "scratch+augment", "epochs": 0}, "--epochs: expected a whole number from 1"),
        ({"architectures": OWN, "head_layers": (0,)}, "--head-layers: expected widths of at least 1, found 0"),
        (
            {"architectures": OWN, "regimes": "scratch+augment", "head_layers": (8,)},
            "--head-layers: layers go on top of a frozen body (--transfer frozen), which no trial has",
        ),
        ({"architectures": OWN, "seeds": 0}, "--seeds: expected at least one, found 0"),
        ({"architectures": OWN, "budget": "soon"}, "--budget: expected a duration"),
        (
            {"architectures": "inception_v3", "size": 64},
            "--size: inception_v3 takes photos of at least 75 pixels, found 64",
        ),
        (
            {"architectures": "inception_v3", "regimes": "scratch+augment"},
            "inception_v3 takes photos of at least 75 pixels, and these have 64 (median of their short sides); "
            "leave it out, or enlarge them with --size 75",
        ),
    ],
)
def test_wrong_uses_are_told_before_any_training(
    shop: Path, tmp_path: Path, options: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "run", None)
    with pytest.raises(InputError) as refused:
        kramar.compare(shop, tmp_path / "run", **options)  # type: ignore[arg-type]
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not there; expected a best.toml of kramar tune"),
        ("architecture = ", "cannot be read as TOML"),
        ('architecture = "convnet"\nregime = "scratch+augment"\ntransfer = "none"\n', "fits none of these trials"),
        (
            f'architecture = "{OWN}"\nregime = "scratch+augment"\ntransfer = "none"\n[recipe]\nepochs = 0\n',
            "epochs: input should be greater than 0, found 0",
        ),
        (
            f'architecture = "{OWN}"\nregime = "scratch+augment"\ntransfer = "none"\n[recipe]\nmomentum = 1\n',
            "found ['momentum']",
        ),
    ],
)
def test_a_wrong_recipe_file_is_refused(shop: Path, tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "best.toml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"^--config: ") as refused:
        kramar.compare(shop, tmp_path / "run", architectures=OWN, regimes="scratch+augment", config=path)
    assert said in str(refused.value)


def test_a_recipe_file_is_used_where_it_fits(shop: Path, tmp_path: Path) -> None:
    path = tmp_path / "best.toml"
    path.write_text(
        f'architecture = "{OWN}"\nregime = "scratch+augment"\ntransfer = "none"\n'
        '[recipe]\nepochs = 1\nactivation = "elu"\nlearning_rate = 0.01\n',
        encoding="utf-8",
    )
    done = kramar.compare(shop, tmp_path / "run", architectures=OWN, regimes="scratch+augment", seeds=1, config=path)
    recipe = done.record.trials[0].recipe
    assert (recipe["epochs"], recipe["activation"], recipe["learning_rate"]) == (1, "elu", 0.01)
    assert len(done.record.trials[0].epochs) == 1
    path.write_text(path.read_text(encoding="utf-8").replace("0.01", "0.02"), encoding="utf-8")
    with pytest.raises(RunFolderError, match="recipes"):
        kramar.compare(shop, tmp_path / "run", architectures=OWN, regimes="scratch+augment", seeds=1, config=path)


def test_the_command_in_the_record_does_it_again(shop: Path, tmp_path: Path) -> None:
    done = kramar.compare(shop, tmp_path / "run", **SCRATCH, seeds=1)
    words = shlex.split(done.record.command)
    assert words[: words.index("--out") + 2] == ["kramar", "compare", str(shop), "--out", str(tmp_path / "run")]
    # Nothing is frozen that layers could go on top of.
    assert "--head-layers" not in words
    with pytest.raises(SystemExit) as left:
        cli.run(words[1:])
    assert left.value.code == 0


def test_a_folder_of_other_data_or_options_is_refused(
    compared: Grid, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ("--architectures", f"{OWN},{OTHER}", "--seeds", "1", "--epochs", "2", "--head-layers", "8")
    other = put_folder(tmp_path / "other", 5, start=200)
    code, _, said = called(capsys, "compare", other, "--out", compared.path, *wanted)
    assert code == 2
    assert "holds a run of other data" in said.splitlines()[-1]
    code, _, said = called(capsys, "compare", shop, "--out", compared.path, *wanted, "--transfer", "full")
    assert code == 2
    assert "--transfer" in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--architectures"),
        (
            ("--architectures", OWN, "--head-layers", "wide"),
            "--head-layers: expected a whole number from 1, found 'wide'",
        ),
        (("--architectures", OWN, "--seeds", "few"), "--seeds: expected a whole number from 1, found 'few'"),
    ],
)
def test_wrong_calls_end_with_2_and_one_line(
    shop: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = called(capsys, "compare", shop, *options)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


def test_ctrl_c_says_that_it_goes_on(shop: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        command(
            "compare", shop, "--out", tmp_path / "run", "--architectures", OWN, "--regimes", "scratch+augment",
            first=HEARS_CTRL_C,
        ),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        while process.poll() is None and not list((tmp_path / "run").glob("trials/*/training.safetensors")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said.splitlines()[-1] == "kramar: interrupted; a training run goes on with the same command"
    assert not (tmp_path / "run" / "run.json").exists()
