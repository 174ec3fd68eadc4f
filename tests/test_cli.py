"""The command line: what it prints where, and what it ends with."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import kramar as package
from kramar import Run, cli
from kramar.models.backbones import BACKBONES
from products import encoded, put_folder
from shell import HEARS_CTRL_C, command, complaint, kramar, unfinished

COMMANDS = {
    "train", "audit", "compare", "tune", "distill", "evaluate", "decide", "classify", "serve", "review", "learn",
    "export", "weights", "benchmark",
}  # fmt: skip


def test_help_names_every_command() -> None:
    done = kramar("--help")
    assert done.returncode == 0
    assert not done.stderr
    assert set(re.findall(r"^  ([a-z]+)  ", done.stdout.partition("Commands:")[2], re.MULTILINE)) == COMMANDS
    assert kramar().stdout == done.stdout, "no arguments ask for help"


@pytest.mark.parametrize("name", sorted(COMMANDS - {"weights"}))
def test_help_of_a_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.run([name, "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert f"kramar {name} [OPTIONS]" in said
    assert ("--json" in said) == (name not in ("serve", "review")), "what it says are logs"
    assert ("--columns" in said) == (name not in ("benchmark", "serve", "review")), "no table is given to these"


@pytest.mark.parametrize("name", ["list", "fetch", "verify"])
def test_help_of_a_command_of_weights(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.run(["weights", name, "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert f"kramar weights {name} [OPTIONS]" in said
    assert "--json" in said


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.run(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"kramar {package.__version__}\n"


def test_the_help_names_every_backbone() -> None:
    said = kramar("train", "--help").stdout
    assert all(name in said for name in BACKBONES)


def test_train_says_what_it_made(trained: Run, shop: Path) -> None:
    done = kramar("train", "--rungs", "head", shop, "--out", trained.path)
    assert done.returncode == 0
    accuracy = re.escape(trained.metrics["test"].accuracy.percent())
    assert re.fullmatch(
        rf"Test accuracy {accuracy}\n"
        r"(No answer is sure enough for 98% precision|\d+% of photos need no person, at 98% precision \(estimated\))\n"
        rf"Model +{trained.path}/model\.onnx: 13\.\d MB, [\d.]+ ms a photo \([\d.]+ in OpenVINO\), float32\n"
        rf"Report +{trained.path}/report\.html\n",
        done.stdout,
    )
    assert done.stderr == f"{trained.path} is finished already: nothing to do\n"


def test_train_in_json(trained: Run, shop: Path) -> None:
    done = kramar("train", "--rungs", "head", shop, "--out", trained.path, "--json")
    assert json.loads(done.stdout) == json.loads((trained.path / "run.json").read_text(encoding="utf-8"))
    assert done.stderr == f"{trained.path} is finished already: nothing to do\n"


def test_evaluate_in_words_and_in_json(trained: Run, shop: Path) -> None:
    model = trained.path / "model.onnx"
    words, document = kramar("evaluate", model, shop), kramar("evaluate", model, shop, "--json")
    assert words.returncode == document.returncode == 0
    assert words.stderr == document.stderr == ""
    evaluation = json.loads(document.stdout)
    accuracy = evaluation["metrics"]["accuracy"]
    assert (evaluation["split"], accuracy["n"]) == ("test", trained.record.data.split["test"])
    assert f"on {shop} (test photos, n = {accuracy['n']})" in words.stdout
    assert re.search(rf"accuracy +{accuracy['value']:.1%} ", words.stdout)
    assert trained.record.decisions is not None
    assert evaluation["decisions"]["coverage"] == trained.record.decisions.coverage.model_dump()
    again = json.loads(kramar("evaluate", model, shop, "--json", "--seed", "7").stdout)["metrics"]
    assert again["accuracy"] == accuracy
    assert again["log_loss"] != evaluation["metrics"]["log_loss"]


def test_classify_in_words_and_in_json(trained: Run, shop: Path, tmp_path: Path) -> None:
    model = trained.path / "model.onnx"
    odd = tmp_path / 'line\n"and" 🍎.jpg'
    odd.write_bytes(encoded("Box", 1))
    (tmp_path / "text.jpg").write_text("no photo")
    photos = [odd, tmp_path / "text.jpg", shop / "Tent"]
    words = kramar("classify", model, *photos)
    document = kramar("classify", model, *photos, "--json", "--top", "2", "--out", tmp_path / "out.csv")
    assert words.returncode == document.returncode == 0
    lines = words.stdout.splitlines()
    assert len(lines) == 1 + 22, "a line a photo, whatever its name"
    assert lines[0].split() == ["prob.", "decision", "label", "image"]
    assert re.fullmatch(r" *[\d.]+%  (auto|coarse|review) +(Box|Plate|Tent) +.*line\\n.*", lines[1])
    assert re.fullmatch(rf" error +{tmp_path}/text\.jpg: not an image .*", lines[2])
    assert not words.stderr
    predictions = json.loads(document.stdout)["predictions"]
    assert [row["image"] for row in predictions] == [
        str(odd),
        str(tmp_path / "text.jpg"),
        *(str(path) for path in sorted((shop / "Tent").iterdir())),
    ]
    assert [len(row["top"]) for row in predictions] == [2, 0] + [2] * 20
    assert document.stderr == f"22 photos to {tmp_path}/out.csv, 1 of them with an error\n"


def test_classify_of_nothing_readable_is_one_document_too(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    done = kramar("classify", trained.path / "model.onnx", tmp_path / "text.jpg", "--json")
    assert "none of the 1 photos could be read" in complaint(done, 2)
    assert len(json.loads(done.stdout)["predictions"]) == 1


def test_strict_classify_ends_with_2_and_still_writes_all(trained: Run, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    out = tmp_path / "out.csv"
    done = kramar(
        "classify", trained.path / "model.onnx", tmp_path / "text.jpg", shop / "Box" / "0.jpg", "--strict", "--out", out
    )
    assert "1 of 2 photos could not be read" in complaint(done, 2)
    assert len(out.read_text(encoding="utf-8").splitlines()) == 3


def test_strict_classify_in_json_is_one_document_too(trained: Run, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    done = kramar("classify", trained.path / "model.onnx", tmp_path, shop / "Box" / "0.jpg", "--json", "--strict")
    assert "1 of 2 photos could not be read" in complaint(done, 2)
    assert len(json.loads(done.stdout)["predictions"]) == 2


def test_classify_says_what_in_a_folder_is_no_photo(trained: Run, tmp_path: Path) -> None:
    put_folder(tmp_path, 1, ["Box"])
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / ".DS_Store").write_bytes(b"")
    done = kramar("classify", trained.path / "model.onnx", tmp_path, "--strict")
    assert (done.returncode, done.stderr) == (0, f"{tmp_path}: left out 1 not named like photos, 1 hidden\n")


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals to open")
@pytest.mark.parametrize(
    ("arguments", "shown"), [(["--out", "out.csv"], True), (["--json"], True), ([], False)], ids=["out", "json", "rows"]
)
def test_a_bar_on_the_terminal_and_none_in_the_result(
    trained: Run, shop: Path, tmp_path: Path, arguments: list[str], shown: bool
) -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        command("classify", trained.path / "model.onnx", shop, *arguments),
        stdout=subprocess.PIPE,
        stderr=theirs,
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    with process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # the terminal's end
            while more := os.read(ours, 1024):
                said += more
        assert process.stdout is not None
        result = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    assert (b"Classifying photos" in said) is shown
    assert b"\x1b" not in result
    if "--json" in arguments:
        assert len(json.loads(result)["predictions"]) == 60


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not UTF-8")
def test_names_that_are_not_utf_8_from_end_to_end(trained: Run, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    put_folder(odd, 20, start=300)
    done = kramar("train", "--rungs", "head", odd, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["source"] == f"{tmp_path}/caf\\udce9"
    run = tmp_path / "kramar-runs" / odd.name
    assert (run / "report.html").is_file()
    shutil.copy(odd / "Box" / "300.jpg", odd / os.fsdecode(b"\xe9.jpg"))
    for arguments in (["evaluate", odd], ["classify", odd], ["classify", odd, "--out", odd / "out.csv"]):
        for form in ([], ["--json"]):
            name, *others = arguments
            done = kramar(name, run / "model.onnx", *others, *form, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            said = json.dumps(json.loads(done.stdout)) if form else done.stdout + done.stderr
            assert ("caf\\\\udce9" if form else "caf\\udce9") in said
    assert "is finished already" in kramar("train", "--rungs", "head", odd, cwd=tmp_path).stderr
    assert "caf\\udce9/none: no such folder or table" in complaint(kramar("train", "--rungs", "head", odd / "none"), 2)


@pytest.mark.parametrize("encoding", ["ascii", "cp1251"])
def test_json_is_json_whatever_the_terminal_can_show(trained: Run, tmp_path: Path, encoding: str) -> None:
    name = str(tmp_path / "é яблуко 🍎.jpg")
    Path(name).write_bytes(encoded("Box", 1))
    done = subprocess.run(
        command("classify", trained.path / "model.onnx", name, "--json"),
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    assert [row["image"] for row in json.loads(done.stdout.decode(encoding))["predictions"]] == [name]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [["--version"], ["evaluate", "--help"]])
def test_a_full_disk_for_standard_output(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command(*arguments), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    done.stdout = ""
    assert complaint(done, 1).startswith("standard output: the disk is full; ")


@pytest.mark.parametrize("lines", [0, 1])
def test_a_reader_that_has_enough(trained: Run, shop: Path, lines: int) -> None:
    with subprocess.Popen(
        command("classify", trained.path / "model.onnx", *[shop] * 4, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (0, "")


def interrupted(has_come: Callable[[], bool], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Start kramar and press Ctrl-C when the moment has come."""
    with subprocess.Popen(
        command(*arguments, first=HEARS_CTRL_C),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    ) as process:
        while process.poll() is None and not has_come():
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_ctrl_c_while_training(tmp_path: Path) -> None:
    shop, run = put_folder(tmp_path / "shop", 40, start=500), tmp_path / "run"
    done = interrupted((run / "plan.json").exists, "train", "--rungs", "head", shop, "--out", run)
    assert complaint(done, 130) == "interrupted; a training run goes on with the same command"
    assert not unfinished(run)
    assert (run / "plan.json").exists(), "what the same command goes on with"


def test_ctrl_c_while_classifying_leaves_no_file(trained: Run, shop: Path, tmp_path: Path) -> None:
    photos = [shop] * 200
    done = interrupted(
        lambda: any(path.stat().st_size for path in tmp_path.glob(".out.csv.*.tmp")),
        "classify",
        trained.path / "model.onnx",
        *photos,
        "--out",
        tmp_path / "out.csv",
    )
    complaint(done, 130)
    assert not list(tmp_path.iterdir())


def test_a_bug_is_called_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("kramar.jobs.train.train", broken)
    with pytest.raises(SystemExit) as left:
        cli.run(["train", "shop"])
    assert left.value.code == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith(f"kramar: a bug in kramar {package.__version__}: division by zero")


def test_python_m_kramar_and_kramar_are_the_same() -> None:
    script = Path(sys.executable).parent / "kramar"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == kramar("--version").stdout
