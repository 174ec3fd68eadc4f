"""What tuning gains in half an hour: convnet from scratch and SqueezeNet in three regimes, on 5,000 photos of CIFAR-10.

``python -m benchmarks.tune_studies squeezenet1_1:weights`` runs one of them. Each has 30 trials and is killed
(kill -9) once a third of these are done; the test photos are CIFAR-10's 10,000.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.cifar10 import table
from benchmarks.harness import KRAMAR, PROJECT, bar, environment, record, scratch

TRAIN, VAL = 4000, 1000
TRIALS, MINUTES = 30, 30
# Sizes and epochs at which two cores have time for 30 trials in half an hour: photos of 32 pixels gain little from
# 224.
STUDIES = {
    "convnet:scratch+augment": ("convnet:width=32", "scratch+augment", ("--size", "32", "--epochs", "10")),
    "squeezenet1_1:weights": ("squeezenet1_1", "weights", ("--size", "96")),
    "squeezenet1_1:weights+augment": ("squeezenet1_1", "weights+augment", ("--size", "96")),
    "squeezenet1_1:scratch+augment": ("squeezenet1_1", "scratch+augment", ("--size", "48", "--epochs", "6")),
}


def finished(run: Path) -> dict[str, bytes]:
    """What is known of each trial that is done."""
    return {path.parent.name: path.read_bytes() for path in run.glob("trials/*/outcome.json")}


def study(name: str, folder: Path, photos: Path) -> None:
    """Run one study, killed once, and print what came of it."""
    architecture, regime, options = STUDIES[name]
    run = folder / name.replace(":", "-")
    words = [KRAMAR, "tune", photos, "--out", run, "--architecture", architecture, "--regime", regime, *options]
    command = [*map(str, words), "--trials", str(TRIALS), "--budget", f"{MINUTES}m"]
    surroundings = environment(folder / "cache")
    surroundings.setdefault("KRAMAR_WEIGHTS", str(PROJECT.parent / "shared" / "weights"))
    began = time.monotonic()
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(command, env=surroundings, stdout=said, stderr=said)
        while process.poll() is None and len(finished(run)) < TRIALS // 3:
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept, heard = finished(run), len((run / "run.log").read_text())
        subprocess.run(command, env=surroundings, stdout=said, stderr=said, check=True)
    seconds = time.monotonic() - began
    again = set(re.findall(r"Trial (\d+)(?:, the start)?: optimiser", (run / "run.log").read_text()[heard:]))
    repeated = sorted(number for number in kept if number in again or finished(run)[number] != kept[number])
    show(name, record(run), len(kept), repeated, seconds)


def show(name: str, found: dict[str, Any], kept: int, repeated: list[str], seconds: float) -> None:
    """Print the lines of one study."""
    trials, estimate = found["trials"], found["estimate"]
    print(f"      {name}: {found['search_epochs']} epochs a trial, {found['after']['recipe']['epochs']} in full")
    print(f"      expected to take {estimate['whole']:.0f} s, took {estimate['took']:.0f} s")
    for title in ("before", "after"):
        accuracy = found[title]["metrics"]["test"]["accuracy"]
        value, low, high = accuracy["value"], accuracy["low"], accuracy["high"]
        print(f"      {title:<6} {value:.1%} ({low:.1%}-{high:.1%}), n = {accuracy['n']:,}")
    for test in found["tests"]:
        gain = test["difference"]
        print(
            f"      gain   {100 * gain['value']:+.1f} points ({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}), "
            f"p = {test['p']:.2g}: {test['verdict']}"
        )
    pruned = sum(one["state"] == "pruned" for one in trials)
    bar(f"{name}: trials, {pruned} of them stopped early", str(len(trials)), str(TRIALS), len(trials) == TRIALS)
    bar(f"{name}: trials repeated after a kill at {kept}", str(len(repeated)), "0", not repeated)
    bar(f"{name}: seconds", f"{seconds:.0f}", f"at most {MINUTES * 60}", seconds <= MINUTES * 60)


def main(names: list[str] | None = None) -> None:
    """Run the named studies, by default all."""
    folder = scratch("tune-studies")
    photos = table(folder, TRAIN, VAL)
    for name in names or STUDIES:
        study(name, folder, photos)


if __name__ == "__main__":
    main(sys.argv[1:])
