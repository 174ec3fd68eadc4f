"""What docs/review.md shows runs."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import httpx2
import pytest

import kramar
from products import put_folder
from shell import ended_well
from shell import kramar as command

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "review.md").read_text(encoding="utf-8")


def test_its_commands_and_its_python_run(
    trained: kramar.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained.path, tmp_path / "kramar-runs" / "photos")
    put_folder(tmp_path / "new", 25, start=800)
    monkeypatch.chdir(tmp_path)
    (shell,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    (python,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    _, classify, review, learn = [shlex.split(line) for line in shell.splitlines()]
    done = command(*classify[1:])
    assert done.returncode == 0, done.stderr
    with ended_well(review[1:]) as address:
        assert httpx2.get(address).status_code == 200
    exec(compile(python, "review.md", "exec"), {})
    assert "waiting=" in capsys.readouterr().out
    # All decisions but the one that was taken back.
    done = command(*learn[1:])
    assert done.returncode == 0, done.stderr
    assert "has learnt from 19 decided photos" in done.stdout
