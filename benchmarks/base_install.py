"""What the base install weighs, and how fast it starts."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from statistics import median

from benchmarks.harness import PROJECT, TABLE, bar, measured, run, scratch

RUNS = 5


def warm(*command: str | Path) -> tuple[float, int]:
    """Median wall seconds and largest peak memory in bytes of a command's warm runs."""
    runs = [measured(*command) for _ in range(RUNS + 1)][1:]
    return median(done.seconds for done in runs), max(done.peak_bytes for done in runs)


def main() -> None:
    """Install the base into a new virtual environment and time it."""
    folder = scratch("base-install")
    venv.create(folder / "venv", with_pip=True)
    binaries = folder / "venv" / "bin"
    lock = PROJECT / "requirements" / "lock.txt"
    subprocess.run(
        [str(binaries / "pip"), "install", "--quiet", "--disable-pip-version-check", "-c", str(lock), str(PROJECT)],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    size = sum(
        path.lstat().st_size for path in (folder / "venv").rglob("*") if path.is_file() and not path.is_symlink()
    )
    bar("virtual environment", f"{size / 1e6:.0f} MB", "at most 300 MB", size <= 300e6)
    torchless = subprocess.run([str(binaries / "python"), "-c", "import torch"], capture_output=True, check=False)
    bar("torch is absent", str(torchless.returncode != 0), "yes", torchless.returncode != 0)
    nothing, _ = warm(binaries / "python", "-c", "pass")
    imported, _ = warm(binaries / "python", "-c", "import kramar")
    bar("import kramar", f"{imported - nothing:.3f} s", "at most 0.3 s", imported - nothing <= 0.3)
    helped, _ = warm(binaries / "kramar", "--help")
    bar("kramar --help", f"{helped:.2f} s", "at most 0.6 s", helped <= 0.6)
    run("train", str(TABLE), "--out", str(folder / "run"), cache=folder / "cache")
    photo = next((TABLE.parent / "val").rglob("*.jpg"))
    classified, peak = warm(binaries / "kramar", "classify", folder / "run" / "model.onnx", photo)
    bar("kramar classify, one photo", f"{classified:.2f} s", "at most 1.5 s", classified <= 1.5)
    bar("its peak memory", f"{peak / 1e6:.0f} MB", "at most 400 MB", peak <= 400e6)
    print(f"      Python {sys.version.split()[0]}; medians of {RUNS} warm runs")
