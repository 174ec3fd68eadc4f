"""What the machine tells of itself."""

import subprocess
import sys

import pytest

from kramar import machine

PEAK = "from kramar.machine import peak_memory; print(peak_memory())"


def peak_after(first: str) -> int:
    """In bytes, of a process that is started by one that ran ``first``."""
    code = f"{first}\nimport subprocess, sys\nsubprocess.run([sys.executable, '-c', {PEAK!r}], check=True)"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say")
def test_peak_memory_is_the_process_s_own_and_not_its_parent_s() -> None:
    assert peak_after("held = bytearray(300_000_000)") < 150_000_000
    own = subprocess.run(
        [sys.executable, "-c", f"held = bytearray(300_000_000); {PEAK}"], capture_output=True, text=True, check=True
    )
    assert 300_000_000 < int(own.stdout) < 450_000_000


def test_the_machine_says_what_it_is() -> None:
    said = machine.describe()
    assert said["cores"] >= 1
    assert said["system"]
