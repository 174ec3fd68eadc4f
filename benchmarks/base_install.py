"""Bar 6: what the base install weighs, and how fast it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from statistics import median

from benchmarks.harness import PROJECT, TABLE, bar, run, scratch

RUNS = 5


def seconds(*command: str | Path) -> tuple[float, int]:
    """Median wall seconds of a command's warm runs, and the peak resident bytes of its last."""
    times, peak = [], 0
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        times.append(time.perf_counter() - start)
        peak = usage.ru_maxrss * 1024
        if os.waitstatus_to_exitcode(status):
            raise SystemExit(f"{command} failed")
    return median(times[1:]), peak


def main() -> None:
    """Install the base into a new virtual environment and time it."""
    folder = scratch("base-install")
    venv.create(folder / "venv", with_pip=True)
    binaries = folder / "venv" / "bin"
    lock = PROJECT / "requirements" / "lock.txt"
    subprocess.run([str(binaries / "pip"), "install", "--quiet", "-c", str(lock), str(PROJECT)], check=True)
    size = sum(
        path.lstat().st_size for path in (folder / "venv").rglob("*") if path.is_file() and not path.is_symlink()
    )
    bar("virtual environment", f"{size / 1e6:.0f} MB", "at most 300 MB", size <= 300e6)
    torchless = subprocess.run([str(binaries / "python"), "-c", "import torch"], capture_output=True, check=False)
    bar("torch is absent", str(torchless.returncode != 0), "yes", torchless.returncode != 0)
    nothing, _ = seconds(binaries / "python", "-c", "pass")
    imported, _ = seconds(binaries / "python", "-c", "import kramar")
    bar("import kramar", f"{imported - nothing:.3f} s", "at most 0.3 s", imported - nothing <= 0.3)
    helped, _ = seconds(binaries / "kramar", "--help")
    bar("kramar --help", f"{helped:.2f} s", "at most 0.6 s", helped <= 0.6)
    run("train", str(TABLE), "--out", str(folder / "run"), cache=folder / "cache")
    photo = next((TABLE.parent / "val").rglob("*.jpg"))
    classified, peak = seconds(binaries / "kramar", "classify", folder / "run" / "model.onnx", photo)
    bar("kramar classify, one photo", f"{classified:.2f} s", "at most 1.5 s", classified <= 1.5)
    bar("its peak memory", f"{peak / 1e6:.0f} MB", "at most 400 MB", peak <= 400e6)
    print(f"      Python {sys.version.split()[0]}; medians of {RUNS} warm runs")
