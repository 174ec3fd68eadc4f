"""``kramar.train``, end to end: what a run leaves, what it refuses, and what it does when it is killed."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

import kramar
from drawn import Told
from kramar import DataError, InputError, OutputError, Run, RunFolderError
from kramar.models import features
from kramar.training.climb import CARD_ROOM
from products import KINDS, encoded, put_folder
from shell import contents

# The other rungs have tests of their own.
train = functools.partial(kramar.train, rungs="head")

FILES = {
    *(
        "issues.parquet",
        "manifest.parquet",
        "model.onnx",
        "plan.json",
        "report.html",
        "run.json",
        "run.log",
        "seen.npz",
    ),
    *("models/head.onnx", "models/head.json", "models/head.npy", "seen.npz"),
}


# What a run leaves


def test_a_run_leaves_these_files(trained: Run) -> None:
    assert set(contents(trained.path)) == FILES
    assert not trained.was_finished
    assert trained.report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_run_json_has_the_stable_keys(trained: Run) -> None:
    record = json.loads((trained.path / "run.json").read_text(encoding="utf-8"))
    assert record == json.loads(trained.record.model_dump_json())
    assert record["kramar"] == kramar.__version__
    assert record["seed"] == 0
    assert record["machine"]["cores"] >= 1
    data, model = record["data"], record["model"]
    assert (data["photos"], data["classes"]) == (60, 3)
    assert list(data["split"]) == ["train", "val", "test"]
    assert sum(data["split"].values()) == 60
    assert min(data["split"].values()) > 0
    assert data["left_out"] == {"unreadable": 0}
    assert len(data["fingerprint"]) == 32
    file = trained.path / model["file"]
    assert model["bytes"] == file.stat().st_size
    assert model["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (model["backbone"], model["rung"], model["storage"]) == ("efficientnet_lite0", "head", "float32")
    assert 3_000_000 < model["parameters"] < model["bytes"] / 4
    assert model["milliseconds"] > 0
    assert record["seconds"]["total"] >= record["seconds"]["rooms"]["features"] > 0
    assert record["peak_memory_bytes"] > 50e6
    assert record["verification"]["label_differences"] == 0
    rung = record["ladder"][0]
    assert (rung["rung"], rung["kept"]) == ("head", True)
    # The kept file has the test metrics in its card and tells unknown photos, the rung's own does not.
    assert rung["bytes"] == (trained.path / "models" / "head.onnx").stat().st_size
    assert 0 < model["bytes"] - rung["bytes"] < CARD_ROOM + 480_000
    assert rung["val_accuracy"] == record["metrics"]["val"]["accuracy"]
    assert rung["why"]


@pytest.mark.parametrize("part", ["val", "test"])
def test_metrics_lie_in_their_intervals(trained: Run, part: str) -> None:
    metrics = trained.metrics[part]
    assert set(dict(metrics)) == {
        "accuracy", "top5", "balanced_accuracy", "macro_f1", "log_loss", "calibration_error",
    }  # fmt: skip
    for name, estimate in metrics:
        assert 0 <= estimate.low <= estimate.value <= estimate.high, name
        assert estimate.high <= (math.inf if name == "log_loss" else 1), name
        assert estimate.n == trained.record.data.split[part]
    assert metrics.top5.value == 1, "there are only three classes"


def test_it_learns_something(trained: Run) -> None:
    right = sum(round(m.accuracy.value * m.accuracy.n) for m in trained.metrics.values())
    tested = sum(m.accuracy.n for m in trained.metrics.values())
    assert right / tested > 0.6, "guessing gives a third"


def test_the_command_in_run_json_is_the_run(trained: Run, shop: Path) -> None:
    words = shlex.split(trained.record.command)
    assert words[:3] == ["kramar", "train", str(shop)]
    assert words[words.index("--out") + 1] == str(trained.path)
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert given.keys() == {"--out", "--budget", "--rungs"}
    assert kramar.train(words[2], given["--out"], budget=given["--budget"], rungs=given["--rungs"]).was_finished


def test_manifest_and_plan_tell_the_same(trained: Run) -> None:
    rows = pq.read_table(trained.path / "manifest.parquet").to_pylist()
    assert Counter(row["split"] for row in rows) == trained.record.data.split
    assert {row["label"] for row in rows} == set(KINDS)
    row = rows[0]
    photo = Path(trained.record.data.source) / row["image"]
    assert row["hash"] == hashlib.sha256(photo.read_bytes()).hexdigest()


def test_model_file_is_as_documented(trained: Run, shop: Path) -> None:
    session = onnxruntime.InferenceSession(trained.path / "model.onnx")
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["N", 224, 224, 3])
    assert [(out.name, out.type) for out in session.get_outputs()] == [
        (name, "tensor(float)") for name in ("probabilities", "logits", "embedding", "unknown_score", "feature_map")
    ]
    card = json.loads(session.get_modelmeta().custom_metadata_map["kramar"])
    assert card["schema_version"] == 1
    assert card["kramar"] == kramar.__version__
    assert card["classes"] == [{"label": kind, "category": kind} for kind in sorted(KINDS)]
    assert card["resize"] == {"size": 224, "crop": 0.875, "filter": "bicubic"}
    assert card["data_fingerprint"] == trained.record.data.fingerprint
    assert card["split"] == trained.record.data.split
    assert card["metrics"] == json.loads(trained.record.model_dump_json())["metrics"]
    assert (card["weights_licence"], card["rung"]) == ("Apache-2.0", "head")
    images = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    probabilities, logits, embedding, unknown, feature_map = session.run(None, {"images": images})
    assert unknown.shape == (3,)
    # Noise is none of the shop's things.
    assert unknown.min() > max(one.unknown_score or 0 for one in kramar.classify(trained.path / "model.onnx", shop))
    np.testing.assert_allclose(embedding, feature_map.mean((2, 3)), atol=1e-5)
    expected = np.exp(logits / card["temperature"])
    np.testing.assert_allclose(probabilities, expected / expected.sum(1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize(("room", "tells"), [(100, False), (90_000, True)])
def test_what_tells_unknown_photos_takes_the_room_that_is_left(
    trained: Run, shop: Path, tmp_path: Path, room: int, tells: bool
) -> None:
    limit = trained.record.ladder[0].bytes + CARD_ROOM + room
    run = train(shop, tmp_path / "run", rungs="head", max_size=limit)
    assert (run.path / "model.onnx").stat().st_size <= limit
    assert run.model.has("unknown_score") is tells
    (answer,) = run.model.classify([shop / "Box" / "1.jpg"])
    assert (answer.unknown_score is not None) is tells


# The same again, and other things in its place


def test_same_command_again_changes_no_byte(trained: Run, shop: Path) -> None:
    before = contents(trained.path)
    times = {path: path.stat().st_mtime_ns for path in trained.path.rglob("*")}
    again = train(shop, trained.path)
    assert again.was_finished
    assert again.record == trained.record
    assert contents(trained.path) == before
    assert {path: path.stat().st_mtime_ns for path in trained.path.rglob("*")} == times


def test_warm_cache_gives_the_same_file_and_needs_neither_features_nor_torch(
    trained: Run, shop: Path, tmp_path: Path
) -> None:
    code = f"import sys, kramar; kramar.train({str(shop)!r}, 'run', rungs='head'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    features = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["features"]
    assert (features["computed"], features["reused"]) == (0, 60)
    assert (tmp_path / "run" / "model.onnx").read_bytes() == (trained.path / "model.onnx").read_bytes()


def test_another_seed_is_another_split(trained: Run, shop: Path, tmp_path: Path) -> None:
    other = train(shop, tmp_path / "run", seed=1)
    first, second = (
        {row["hash"]: row["split"] for row in pq.read_table(run.path / "manifest.parquet").to_pylist()}
        for run in (trained, other)
    )
    assert first.keys() == second.keys()
    assert first != second
    assert other.record.features["computed"] == 0
    assert "--seed 1" in other.record.command


@pytest.mark.parametrize(
    ("options", "named"),
    [({"seed": 1}, "--seed 0, not 1"), ({"budget": "5m"}, "--budget 10m, not 5m"), ({"strict": True}, "--strict")],
)
def test_other_options_in_a_run_are_refused(trained: Run, shop: Path, options: dict[str, object], named: str) -> None:
    before = contents(trained.path)
    with pytest.raises(RunFolderError, match=named):
        train(shop, trained.path, **options)  # type: ignore[arg-type]
    assert contents(trained.path) == before


def test_other_data_in_a_run_is_refused(trained: Run, tmp_path: Path) -> None:
    before = contents(trained.path)
    with pytest.raises(RunFolderError, match="holds a run of other data"):
        train(put_folder(tmp_path / "shop", 3), trained.path)
    assert contents(trained.path) == before


def test_a_folder_with_other_files_is_refused(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="found other files; use a new --out"):
        train(shop, tmp_path)
    assert contents(tmp_path) == {"letters.txt": b"mine"}


def test_a_file_in_the_way_is_refused(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OutputError, match="a file is where the run folder should be"):
        train(shop, tmp_path / "run")
    assert contents(tmp_path) == {"run": b"mine"}


def test_two_at_once_in_one_folder_are_refused(shop: Path, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(RunFolderError, match="another kramar is working in it"):
        train(shop, tmp_path)


# Strict


def test_strict_refuses_what_would_be_left_out(tmp_path: Path) -> None:
    put_folder(tmp_path / "shop", 4, ["Plate", "Box"])
    (tmp_path / "shop" / "notes.txt").write_text("call the printer")
    with pytest.raises(DataError, match=r"--strict, and 1 cannot be used, the first 'notes\.txt' \(not_an_image"):
        train(tmp_path / "shop", tmp_path / "run", strict=True)
    assert not (tmp_path / "run").exists()


def test_strict_refuses_photos_that_do_not_decode_and_the_mended_data_trains(tmp_path: Path) -> None:
    shop = put_folder(tmp_path / "shop", 4, ["Plate", "Box"])
    (shop / "Box" / "bad.jpg").write_bytes(encoded("Box", 50)[:200])
    with pytest.raises(DataError, match=r"--strict, and 1 cannot be used, the first 'Box/bad\.jpg' \(unreadable"):
        train(shop, tmp_path / "run", strict=True)
    assert not (tmp_path / "run").exists()
    (shop / "Box" / "bad.jpg").unlink()
    assert train(shop, tmp_path / "run", strict=True).record.data.photos == 8


# The budget


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that sees one photo in five seconds."""
    monkeypatch.setattr(features.Worker, "expected", lambda worker, pending, others: 0.2)


def test_a_budget_too_short_for_any_model(slow: None, tmp_path: Path) -> None:
    shop = put_folder(tmp_path / "shop", 20, start=200)
    with pytest.raises(InputError, match=r"--budget: \d+s are left, in which 7 of 60 photos fit") as refused:
        train(shop, tmp_path / "run", budget="60s")
    assert "all of them take about" in str(refused.value)
    assert not (tmp_path / "run").exists(), "a longer --budget has to find the place free"


def test_a_budget_for_some_of_the_photos(slow: None, tmp_path: Path) -> None:
    shop = put_folder(tmp_path / "shop", 20, start=900)
    run = train(shop, tmp_path / "run", budget=200)
    data = run.record.data
    assert 12 <= data.photos <= 40
    assert data.left_out == {"unreadable": 0, "over_budget": 60 - data.photos}
    assert len(data.left_out_files) == 60 - data.photos
    rows = pq.read_table(run.path / "manifest.parquet").to_pylist()
    share = data.photos / 60
    for kind in KINDS:
        assert abs(sum(row["label"] == kind for row in rows) - 20 * share) <= 2, "the same share of every class"
    warning = f"the budget has time for {data.photos} of 60 photos"
    assert any(said.startswith(warning) for said in data.warnings)
    assert warning in run.report.read_text(encoding="utf-8")
    assert run.record.features["computed"] == data.photos


@pytest.mark.parametrize("budget", ["soon", "", "-5m", "0s", -1, 0])
def test_a_budget_that_is_none(shop: Path, tmp_path: Path, budget: str | float) -> None:
    with pytest.raises(InputError, match="--budget: expected"):
        train(shop, tmp_path / "run", budget=budget)
    assert not (tmp_path / "run").exists()


# Labels


def test_labels_that_are_probably_wrong_are_listed(tmp_path: Path) -> None:
    shop = put_folder(tmp_path / "shop", 30)
    # Without a seed's luck: the photo is clearly a tent.
    (shop / "Box" / "wrong.jpg").write_bytes(encoded("Tent", 77))
    told = Told()
    run = train(shop, tmp_path / "run", budget="10m", progress=told)
    rows = pq.read_table(run.path / "issues.parquet").to_pylist()
    (found,) = [row for row in rows if row["kind"] == "label" and row["photo"] == "Box/wrong.jpg"]
    assert found["suggestion"] == "Tent"
    assert run.record.issues["label"] == sum(row["kind"] == "label" for row in rows)
    assert any(said.startswith("Labels: ") and "label" in said for said in told.said)
    # Where the head took most of the time there is, labels are not judged, and that is said.
    short = Told()
    brief = train(shop, tmp_path / "brief", budget="20s", progress=short)
    assert any(said.startswith("No time to look for labels that are probably wrong") for said in short.said)
    assert "label" not in brief.record.issues
    blind = train(shop, tmp_path / "blind", budget="10m", skip_audit=True)
    assert blind.record.issues == {}
