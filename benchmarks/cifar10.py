"""What ``convnet`` learns from CIFAR-10's photos in half an hour on this machine, epoch by epoch."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import CIFAR10, KRAMAR, bar, measured, record, scratch

VAL = 2500
# A narrower network than the default, for which half an hour is enough at 32 pixels.
ARCHITECTURE, EPOCHS = "convnet:width=32@32", 24
MINUTES = 30


def table(folder: Path, train: int, val: int, stand_ins: int = 0) -> Path:
    """CIFAR-10 with the first photos of its training part, which are in no order, as ``train`` and ``val``.

    For development, the next ones are ``stand_ins`` for its test photos, which are left out.
    """
    parts = []
    first = (("train", train), ("val", val), *([("test", stand_ins)] if stand_ins else []))
    last = () if stand_ins else (("test", None),)
    for name, ends in (("train", first), ("test", last)):
        rows, begin = pq.read_table(next(CIFAR10.glob(f"{name}-*.parquet"))), 0
        for part, count in ends:
            some = rows.slice(begin, count)
            parts.append(some.append_column("split", pa.array([part] * len(some))))
            begin += len(some)
    path = folder / "cifar10.parquet"
    pq.write_table(pa.concat_tables(parts), path, row_group_size=1000)
    return path


def main() -> None:
    """Train it once, and print the curve."""
    folder = scratch("cifar10")
    photos = table(folder, 50_000 - VAL, VAL)
    out = folder / "run"
    options = ("--architectures", ARCHITECTURE, "--regimes", "scratch+augment", "--seeds", "1")
    limits = ("--epochs", str(EPOCHS), "--budget", f"{MINUTES + 10}m")
    began = time.monotonic()
    measured(KRAMAR, "compare", photos, "--out", out, *options, *limits, cache=folder / "cache")
    whole = time.monotonic() - began
    with (out / "curves.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            loss, accuracy, seconds = (float(row[name]) for name in ("val_loss", "val_accuracy", "seconds"))
            print(
                f"      epoch {row['epoch']:>2}: validation loss {loss:.3f}, accuracy {accuracy:.1%}, {seconds:.0f} s"
            )
    (trial,) = record(out)["trials"]
    print(
        f"      {ARCHITECTURE}: {trial['parameters']:,} parameters, {trial['bytes'] / 1e6:.1f} MB; {whole:.0f} s in all"
    )
    accuracy = trial["metrics"]["test"]["accuracy"]
    shown = f"{accuracy['value']:.1%} ({accuracy['low']:.1%} to {accuracy['high']:.1%})"
    bar(f"accuracy on {accuracy['n']:,} test photos", shown, "at least 80%", accuracy["value"] >= 0.8)
    seconds = trial["train_seconds"]
    bar("seconds of training", f"{seconds:.0f}", f"at most {60 * MINUTES}", seconds <= 60 * MINUTES)
