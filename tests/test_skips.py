"""In CI a skip fails the run, unless its test is marked gpu."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).with_name("conftest.py")
TESTS = """
import pytest

@pytest.mark.skip
def test_skipped(): pass

@pytest.mark.gpu
@pytest.mark.skip
def test_gpu(): pass

@pytest.mark.xfail
def test_expected(): assert False

def test_passes(): pass
"""


def run(folder: Path, ci: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, folder)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_some.py").write_text(TESTS)
    (folder / "test_none.py").write_text("import pytest\npytest.skip('all', allow_module_level=True)\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, str(folder)]
    environment = {**os.environ, "CI": ci}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_skips_fail_in_ci_and_are_named(tmp_path: Path) -> None:
    done = run(tmp_path, "true", "-n", "1")
    assert done.returncode == 1, done.stdout
    assert sorted(line for line in done.stdout.splitlines() if line.startswith("test_")) == [
        "test_none.py",
        "test_some.py::test_skipped",
    ]


def test_skips_pass_elsewhere(tmp_path: Path) -> None:
    done = run(tmp_path, "")
    assert done.returncode == 0, done.stdout
