"""Distillation: ``python -m benchmarks.distillation [grocery-weights|grocery-scratch|cifar10]``; all by default.

On Grocery's photos for development (no test photo is read), EfficientNet-Lite0's climbed model teaches SqueezeNet, from
weights and from scratch; on CIFAR-10, the thesis's own pair: DenseNet-121 teaches SqueezeNet 1.1, both from scratch, on
a fixed part of the training photos.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.development import development
from benchmarks.harness import CIFAR10, PROJECT, record, run, scratch

WEIGHTS = PROJECT.parent / "shared" / "weights"
GRID = ("--temperature", "1,2,3,5", "--weight", "0,0.1,0.3,0.9", "--seeds", "2")
# A teacher for Grocery: ten minutes of climbing.
TEACHER_BUDGET = "10m"
SWEEP_BUDGET = "100m"
# Passes of a lesson from scratch on Grocery: half of the recipe's, so that 34 of them take an hour and a half.
SCRATCH_EPOCHS = "15"
PART, SIDE = 10_000, 32
SWEEPS = ("grocery-weights", "grocery-scratch", "cifar10")


def cifar10(folder: Path) -> Path:
    """Every fifth training photo of CIFAR-10, and all its test photos."""
    import pyarrow.parquet as pq

    rows = []
    for part, every in (("train", 50_000 // PART), ("test", 1)):
        table = pq.read_table(CIFAR10 / f"{part}-00000-of-00001.parquet").to_pylist()[::every]
        (folder / part).mkdir()
        for number, row in enumerate(table):
            path = folder / part / f"{number:05d}.jpg"
            path.write_bytes(row["image"]["bytes"])
            rows.append((f"{part}/{path.name}", f"c{row['label']}", part))
    with (folder / "cifar10.csv").open("w", encoding="utf-8", newline="") as file:
        table_file = csv.writer(file)
        table_file.writerow(("image", "label", "split"))
        table_file.writerows(rows)
    return folder / "cifar10.csv"


def show(folder: Path) -> None:
    """Teacher, student alone, every cell, the kept student."""
    found = record(folder)
    teacher, student = found["teacher"], found["student"]
    print(f"      teacher {teacher['name']}: {percent(teacher['metrics']['test'])}, {teacher['bytes'] / 1e6:.2f} MB")
    print(f"      alone: {found['alone']:.1%}")
    for cell in found["cells"]:
        gain = cell["gain"]
        where = f"T {cell['temperature']:g} lambda {cell['weight']:g}: {cell['accuracy']:.1%}"
        interval = f"({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})"
        print(f"      {where}, {100 * gain['value']:+.1f} points {interval}, p {cell['adjusted']:.2g}")
    against = student["against_teacher"]
    print(
        f"      kept T {student['temperature']} lambda {student['weight']}: {percent(student['metrics']['test'])}, "
        f"{student['bytes'] / 1e6:.2f} MB; minus teacher {100 * against['value']:+.1f} points "
        f"({100 * against['low']:+.1f} to {100 * against['high']:+.1f})"
    )


def percent(metrics: dict[str, dict[str, float]]) -> str:
    """An accuracy with its interval."""
    one = metrics["accuracy"]
    return f"{one['value']:.1%} ({one['low']:.1%} to {one['high']:.1%}, n = {one['n']:,})"


def main(arguments: Sequence[str] = ()) -> None:
    """Each sweep that is asked for."""
    if others := set(arguments) - set(SWEEPS):
        sys.exit(f"expected some of {', '.join(SWEEPS)}, found {', '.join(sorted(others))}")
    wanted = arguments or SWEEPS
    os.environ["KRAMAR_WEIGHTS"] = str(WEIGHTS)
    folder = scratch("distillation")
    cache = folder / "cache"
    if any(name.startswith("grocery") for name in wanted):
        grocery = str(development(folder))
        run("train", grocery, "--budget", TEACHER_BUDGET, "--out", str(folder / "teacher"), cache=cache)
    for name in wanted:
        print(f"   {name}")
        if name == "cifar10":
            (folder / "photos").mkdir()
            data, teacher = cifar10(folder / "photos"), "densenet121"
            options = ["--size", str(SIDE), "--start", "scratch", "--temperature", "2,5", "--weight", "0.1,0.3,0.9"]
        else:
            data, teacher = Path(grocery), str(folder / "teacher")
            options = ["--size", "128", "--start", name.partition("-")[2], *GRID]
            options += ["--epochs", SCRATCH_EPOCHS] if name == "grocery-scratch" else []
        run(
            *("distill", str(data), "--teacher", teacher, "--student", "squeezenet1_1", *options),
            *("--budget", SWEEP_BUDGET, "--out", str(folder / name)),
            cache=cache,
        )
        show(folder / name)


if __name__ == "__main__":
    main(sys.argv[1:])
