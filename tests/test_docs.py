"""What the README and the documents show runs: their Python, their kramar commands, their tables."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

import kramar
from kramar.cli import app
from products import photo as product
from products import put
from shell import kramar as run_kramar

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def commands(page: str) -> list[list[str]]:
    """The words of each line in a page's shell blocks, comments left out."""
    lines = (line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines())
    return [words for line in lines if (words := shlex.split(line, True))]


@pytest.fixture
def place(shop: Path, trained: kramar.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which everything is that the README's blocks speak of."""
    (tmp_path / "photos").symlink_to(shop)
    (tmp_path / "labelled-photos").symlink_to(shop)
    shutil.copy(trained.path / "model.onnx", tmp_path / "model.onnx")
    for number in (1, 2):
        put(tmp_path / "new" / f"000{number}.jpg", "Plate", 900 + number)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_opens_with_the_two_commands() -> None:
    assert [words[:2] for words in commands(README)[:2]] == [["make", "demo"], ["make", "test"]]


@pytest.mark.parametrize("block", blocks(README, "python"), ids=range(len(blocks(README, "python"))))
def test_python_in_the_readme_runs(
    block: str,
    place: Path,
    trained: kramar.Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The rungs above the head have tests of their own.
    monkeypatch.setattr("kramar.jobs.train_run._LEAST_SECONDS", 1e9)
    shutil.copytree(trained.path, place / "kramar-runs" / "photos")
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.count("\n") == 2


def test_kramar_commands_in_the_readme_run(place: Path) -> None:
    runs = ("train", "audit", "classify", "evaluate")
    said = [words for words in commands(README) if words[0] == "kramar" and words[1] in runs]
    assert {words[1] for words in said} == set(runs)
    for words in said:
        if words[1] == "train":
            # The other rungs have tests of their own.
            words += ["--rungs", "head"]
        expanded = [str(path) for word in words[1:] for path in (sorted(Path().glob(word)) or [word])]
        done = run_kramar(*expanded, cwd=place)
        assert done.returncode == 0, (words, done.stderr)
    for name in ("report.html", "review.sqlite"):
        assert (place / "kramar-runs" / "photos" / name).is_file()
    assert (place / "predictions.csv").read_text(encoding="utf-8").count("\n") == 3


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_commands_and_options_that_are_shown_exist(path: Path) -> None:
    known: Any = typer.main.get_command(app)
    for words in commands(path.read_text(encoding="utf-8")):
        # KRAMAR_WEIGHTS=weights kramar weights fetch
        given = words[1:] if "=" in words[0] else words
        if given[0] != "kramar":
            continue
        command, depth = known, 1
        while hasattr(command, "commands"):
            assert given[depth] in command.commands, words
            command, depth = command.commands[given[depth]], depth + 1
        options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        assert {word for word in given if word.startswith("--")} <= options, words


def test_make_targets_and_extras_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for page in (README, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        for target in re.findall(r"^make ([a-z]+)", page, re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
        for extra in re.findall(r"\.\[([\w,]+)\]'", page):
            for one in extra.split(","):
                assert re.search(rf"^{one} = \[", project, re.MULTILINE), one


def test_the_readmes_table_is_read(place: Path) -> None:
    from kramar.data.sources import list_photos

    (table,) = blocks(README, "csv")
    (place / "tables" / "photos").mkdir(parents=True)
    (place / "tables" / "table.csv").write_text(table, encoding="utf-8")
    put(place / "tables" / "photos" / "0017.jpg", "Plate", 1)
    (row,) = list_photos(place / "tables" / "table.csv", {}).rows
    assert (row.label, row.category) == ("Granny-Smith", "Fruit/Apple/Granny-Smith")


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), (page.name, target)


def test_the_documented_script_classifies_like_kramar(
    place: Path, trained: kramar.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (script,) = blocks((ROOT / "docs" / "model-file.md").read_text(encoding="utf-8"), "python")
    assert len([line for line in script.splitlines() if line.strip()]) == 15
    (place / "script.py").write_text(script, encoding="utf-8")
    photos = sorted(str(path) for path in (place / "photos").rglob("*.jpg"))[::5]
    turned = Image.Exif()
    turned[0x0112] = 6
    for name, exif in {"turned": turned.tobytes(), "broken": b"Exif\0\0apples and pears"}.items():
        product("Tent", 950).resize((90, 64)).save(place / f"{name}.png", exif=exif)
        photos.append(str(place / f"{name}.png"))
    monkeypatch.setattr(sys, "argv", ["script.py", "model.onnx", *photos])
    runpy.run_path("script.py")
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    ours = trained.model.classify(photos)
    assert [(image, label) for image, label, _ in lines] == [(p.image, p.label) for p in ours]
    assert [float(probability) for _, _, probability in lines] == pytest.approx(
        [p.probability for p in ours], abs=0.001
    )
