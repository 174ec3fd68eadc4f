"""A climb from an empty cache: ``python -m benchmarks.climb [grocery|cifar10] BUDGET [kramar's options]``.

``--development`` among the options leaves the test photos out: training photos stand in for them
(benchmarks/development.py). ``--folder PATH`` keeps table, cache and run there: the same command goes on with a climb
that was killed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import cifar10
from benchmarks.development import development
from benchmarks.harness import TABLE, bar, record, run, scratch
from kramar.config import parse_duration

DEVELOPMENT, FOLDER = "--development", "--folder"


def photos(name: str, folder: Path, *, stand_ins: bool) -> Path:
    """The table of a dataset."""
    if name == "grocery":
        return development(folder) if stand_ins else TABLE
    val = cifar10.VAL
    return (
        cifar10.table(folder, 50_000 - 3 * val, val, 2 * val) if stand_ins else cifar10.table(folder, 50_000 - val, val)
    )


def main(arguments: Sequence[str] = ()) -> None:
    """Climb once, and tell what each rung gave."""
    name, *rest = arguments if arguments and arguments[0] in ("grocery", "cifar10") else ("grocery", *arguments)
    budget, *options = rest or ["10m"]
    folder = _folder(options)
    stand_ins = DEVELOPMENT in options
    table = photos(name, folder, stand_ins=stand_ins)
    if stand_ins:
        options.remove(DEVELOPMENT)
    took = run("train", str(table), "--budget", budget, *options, "--out", str(folder / "run"), cache=folder / "cache")
    found = record(folder / "run")
    names = {"val": "val", "test": "stand-ins" if stand_ins else "test"}
    for rung in found["ladder"]:
        parts = [
            f"{names[part]} {rung[f'{part}_accuracy']['value']:.1%} "
            f"({rung[f'{part}_accuracy']['low']:.1%} to {rung[f'{part}_accuracy']['high']:.1%})"
            for part in ("val", "test")
            if rung[f"{part}_accuracy"]
        ]
        gain = rung["gain"]
        against = (
            f"; {100 * gain['difference']['value']:+.1f} points ({100 * gain['difference']['low']:+.1f} to "
            f"{100 * gain['difference']['high']:+.1f}) over {gain['rung']}, p {gain['adjusted']:.2g}"
            if gain
            else ""
        )
        print(
            f"      {rung['key']:<28} {', '.join(parts)}{against}; {rung['bytes'] / 1e6:.2f} MB, "
            f"{rung['milliseconds']:.1f} ms, {rung['seconds']:.0f} s (expected {rung['expected_seconds']:.0f})"
            f"{' KEPT' if rung['kept'] else ''}: {rung['how']}; {rung['why']}"
        )
    for one in found["skipped"]:
        print(f"      {one['key']:<28} left out: {one['why']}")
    allowed = 1.1 * parse_duration(budget)
    seconds = max(took.seconds, found["seconds"]["total"])
    bar("whole command from cold", f"{seconds:.0f} s", f"at most {allowed:.0f} s", seconds <= allowed)
    peak = max(took.peak_bytes, found["peak_memory_bytes"])
    bar("peak memory", f"{peak / 1e9:.2f} GB", "at most 4 GB", peak <= 4e9)


def _folder(options: list[str]) -> Path:
    """Where all is; taken out of ``options``."""
    if FOLDER not in options:
        return scratch("climb")
    place = options.index(FOLDER)
    folder = Path(options[place + 1]).resolve()
    del options[place : place + 2]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main(sys.argv[1:])
