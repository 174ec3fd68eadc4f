"""The climb, end to end, on a small shop: the tail, its int8 copy, limits, Ctrl-C, kills."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

import kramar
from drawn import Told
from kramar import FailedError, InputError, Run
from kramar.jobs import train_run
from kramar.models import maps
from kramar.runtime.model import Model
from kramar.training.climb import CARD_ROOM
from kramar.training.rungs import copies, quantised, tail
from shell import HEARS_CTRL_C, command


@pytest.fixture(scope="module")
def climbed(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "MOST_PASSES", 4.0)
        patch.setattr(tail, "MOST_VIEWS", 2)
        patch.setattr(quantised, "_CONTROLLED_SECONDS", 1e9)
        patch.setattr("kramar.training.tail.PROBE_SECONDS", 0.2)
        return kramar.train(shop, tmp_path_factory.mktemp("climb") / "run", rungs="head,tail,quantised")


def test_every_rung_is_in_the_ladder_with_its_figures(climbed: Run) -> None:
    record = json.loads((climbed.path / "run.json").read_text(encoding="utf-8"))
    assert [one["rung"] for one in record["ladder"]] == ["head", "tail", "quantised"]
    assert sum(one["kept"] for one in record["ladder"]) == 1
    reached = 0.0
    for one in record["ladder"]:
        assert one["seconds"] > 0
        # Nothing is done twice at a time, and what is done between rungs takes time too.
        assert one["reached_seconds"] > reached + one["seconds"] - 0.02
        reached = one["reached_seconds"]
        assert one["val_accuracy"]["n"] == record["data"]["split"]["val"]
        assert one["test_accuracy"]["n"] == record["data"]["split"]["test"]
        assert one["bytes"] == (climbed.path / "models" / f"{one['key']}.onnx").stat().st_size
        assert one["milliseconds"] > 0
        assert one["why"]
    assert reached < record["seconds"]["total"]
    head, above, small = record["ladder"]
    assert head["gain"] is None
    assert above["gain"]["rung"] == "head"
    assert small["gain"]["rung"] in ("head", "tail")
    assert above["gain"]["adjusted"] >= above["gain"]["p"]
    assert small["storage"] in ("int8", "float16")
    assert above["expected_seconds"] > 0


def test_the_kept_model_is_the_one_of_its_rung(climbed: Run) -> None:
    kept = next(one for one in climbed.record.ladder if one.kept)
    assert climbed.record.model.rung == kept.rung
    assert climbed.record.model.storage == kept.storage
    card = climbed.model.card
    assert (card.rung, card.storage) == (kept.rung, kept.storage)
    assert set(card.metrics) == {"val", "test"}
    rung = Model(climbed.path / "models" / f"{kept.key}.onnx")
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    assert np.array_equal(rung.scores(images), climbed.model.scores(images))


def test_every_rung_s_file_keeps_the_contract(climbed: Run) -> None:
    for one in climbed.record.ladder:
        path = climbed.path / "models" / f"{one.key}.onnx"
        graph = onnx.load(path).graph
        assert [output.name for output in graph.output] == ["probabilities", "logits", "embedding", "feature_map"]
        session = Model(path)._session
        images = np.random.default_rng(1).integers(0, 256, (3, 224, 224, 3), np.uint8)
        probabilities, logits, embedding, feature_map = session.run(
            images, ["probabilities", "logits", "embedding", "feature_map"]
        )
        np.testing.assert_allclose(embedding, feature_map.mean((2, 3)), atol=1e-3)
        shifted = np.exp(logits / Model(path).card.temperature)
        np.testing.assert_allclose(probabilities, shifted / shifted.sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-6)


def test_the_tail_changed_the_last_stages_and_nothing_before_the_cut(climbed: Run) -> None:
    head, above = (
        {
            t.name: onnx.numpy_helper.to_array(t)
            for t in onnx.load(climbed.path / "models" / f"{key}.onnx").graph.initializer
        }
        for key in ("head", "tail")
    )
    changed = {name for name in head if name.startswith("body.") and not np.array_equal(head[name], above[name])}
    assert changed
    assert all(int(name.split(".")[2]) >= 6 for name in changed)


def test_the_report_shows_the_climb(climbed: Run) -> None:
    page = climbed.report.read_text(encoding="utf-8")
    (chart,) = re.findall(r'<figure class="climb.*?</figure>', page, re.DOTALL)
    # A mark for each rung and part.
    assert len(re.findall("<circle", chart)) == 2 * len(climbed.record.ladder) == 6
    for one in climbed.record.ladder:
        assert chart.count(f"<title>{one.key}, ") == 2


def test_the_same_command_again_changes_nothing(climbed: Run, shop: Path) -> None:
    assert kramar.train(shop, climbed.path, rungs="head,tail,quantised").was_finished


def test_maps_stay_within_the_cache_size(climbed: Run) -> None:
    assert 0 < maps.size(maps.folder()) <= 2e9


def test_a_cache_too_small_for_one_view_leaves_the_tail_out_and_says_so(shop: Path, tmp_path: Path) -> None:
    run = kramar.train(shop, tmp_path / "run", rungs="head,tail", cache_size="100kB")
    assert [one.rung for one in run.record.ladder] == ["head"]
    assert {one.rung for one in run.record.skipped} == {"tail"}
    assert "no room" in run.record.skipped[0].why


def test_what_there_is_no_time_for_is_said_there_and_then_and_in_the_report(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_run, "_LEAST_SECONDS", 1e9)
    told = Told()
    run = kramar.train(shop, tmp_path / "run", rungs="head,views,tail", progress=told)
    (said,) = [message for message in told.said if "Left out" in message]
    assert re.fullmatch(r"Left out: views, tail \(no time: \d+ s are left\)", said)
    assert [one.key for one in run.record.skipped] == ["views", "tail"]
    assert re.search(r"Not climbed: views \(no time: \d+ s are left\); tail", run.report.read_text(encoding="utf-8"))


def test_limits_that_nothing_meets_say_by_how_much_and_what_would(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"head is 1\d\.\d\d MB over --max-size.*Ask for --max-size 1\d\.\d\dMB, or"):
        kramar.train(shop, tmp_path / "run", rungs="head", max_size="1MB")
    assert not (tmp_path / "run" / "run.json").exists()
    assert not (tmp_path / "run" / "model.onnx").exists()
    assert (tmp_path / "run" / "models" / "head.onnx").is_file()


def test_a_small_copy_is_made_where_size_asks_for_it(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantised, "_CONTROLLED_SECONDS", 1e9)
    monkeypatch.setattr(copies, "EXACT", ())
    run = kramar.train(shop, tmp_path / "run", rungs="head,quantised", max_size="4.4MB")
    assert run.record.model.bytes <= 4.4e6
    assert (run.path / "model.onnx").stat().st_size == run.record.model.bytes
    assert run.record.model.rung == "quantised"
    assert run.record.limits == {"bytes": 4.4e6}
    assert "over --max-size" in run.record.ladder[0].why
    # Where the limit leaves no room to tell unknown photos, the file does without.
    monkeypatch.setattr(quantised, "_SCALES", 0.5)
    tight = run.record.ladder[1].bytes + CARD_ROOM + 10_000
    small = kramar.train(shop, tmp_path / "tight", rungs="head,quantised", max_size=tight)
    assert small.record.model.rung == "quantised"
    assert small.record.model.bytes <= tight
    assert "unknown_score" in run.model.asked
    assert "unknown_score" not in small.model.asked


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_size": "big"}, "--max-size: expected a size such as 800kB, 4.4MB or 2GB, found 'big'"),
        ({"max_size": 0}, "--max-size: expected a size"),
        ({"max_size": 1.5}, "--max-size: expected a size such as 800kB, 4.4MB or 2GB, found 1.5, which is 1.5 bytes"),
        ({"max_latency": "20 photos"}, "--max-latency: expected a time for one photo such as 20ms"),
        ({"rungs": "head,attic"}, "--rungs: expected some of head, views, tail, .* found 'attic'"),
        ({"rungs": "tail"}, "--rungs: expected head among them"),
        ({"cache_size": "-1GB"}, "--cache-size: expected a size"),
    ],
)
def test_wrong_options_are_one_line(options: dict[str, object], said: str, shop: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        kramar.train(shop, tmp_path / "run", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def start(shop: Path, out: Path, first: str = "", *options: str) -> subprocess.Popen[str]:
    quick = (
        "import kramar.training.rungs.tail as rung; rung.MOST_PASSES, rung.MOST_VIEWS = 6.0, 2; "
        "import kramar.training.tail as tail; tail.PROBE_SECONDS = 0.2"
    )
    return subprocess.Popen(
        command(
            "train",
            shop,
            "--out",
            out,
            *(options or ("--rungs", "head,tail")),
            "--json",
            first=f"{first}; {quick}" if first else quick,
        ),
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not path.exists():
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()


def test_a_killed_climb_ends_with_the_same_model(shop: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for moment in ("models/tail.training.safetensors", "models/tail.json"):
        with start(shop, killed) as process:
            wait_for(killed / moment, process)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert not (killed / "run.json").exists()
    for folder in (killed, whole):
        with start(shop, folder) as process:
            _, err = process.communicate()
        assert process.returncode == 0, err
    assert (whole / "models" / "tail.onnx").read_bytes() == (killed / "models" / "tail.onnx").read_bytes()
    assert (whole / "model.onnx").read_bytes() == (killed / "model.onnx").read_bytes()


def test_ctrl_c_once_ends_the_rung_and_finishes_well(shop: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # The copy is what makes the file small enough: it is made all the same.
    options = ("--rungs", "head,tail,quantised", "--max-size", "4.4MB")
    with start(shop, run, HEARS_CTRL_C, *options) as process:
        wait_for(run / "models" / "tail.training.safetensors", process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert "Interrupted" in err
    record = json.loads(out)
    (climbed,) = [one for one in record["ladder"] if one["rung"] == "tail"]
    assert 0 < float(climbed["how"].split()[0]) < 6
    assert record["model"]["rung"] == "quantised"
    assert (run / "model.onnx").stat().st_size <= 4.4e6


def test_ctrl_c_twice_stops_at_once_and_loses_nothing_finished(shop: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # A rung that hears the first and does not end: only the second ends it.
    deaf = (
        "import kramar.training.loop as loop; import kramar.interrupt as i; i.Interrupt.__call__ = lambda self: False"
    )
    with start(shop, run, f"{HEARS_CTRL_C}; {deaf}") as process:
        wait_for(run / "models" / "tail.training.safetensors", process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130, err
    assert not (run / "run.json").exists()
    assert (run / "model.onnx").is_file()
    assert Model(run / "models" / "head.onnx").classes
    assert "Traceback" not in err
