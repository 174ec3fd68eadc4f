"""The climb on Grocery: ``python -m benchmarks.climb BUDGET [kramar's options]``, from an empty cache.

``--development`` among the options leaves the test photos out: others stand in for them (benchmarks/development.py).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.development import development
from benchmarks.harness import TABLE, bar, record, run, scratch
from kramar.config import parse_duration

DEVELOPMENT = "--development"


def main(arguments: Sequence[str] = ()) -> None:
    """Climb once, and tell what each rung gave."""
    budget, *options = arguments or ["10m"]
    folder = scratch("climb")
    table = TABLE
    if DEVELOPMENT in options:
        options.remove(DEVELOPMENT)
        table = development(folder)
    took = run("train", str(table), "--budget", budget, *options, "--out", str(folder / "run"), cache=folder / "cache")
    found = record(folder / "run")
    for rung in found["ladder"]:
        parts = [
            f"{part} {rung[f'{part}_accuracy']['value']:.1%} "
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
    bar("whole command from cold", f"{took.seconds:.0f} s", f"at most {allowed:.0f} s", took.seconds <= allowed)
    peak = max(took.peak_bytes, found["peak_memory_bytes"])
    bar("peak memory", f"{peak / 1e9:.2f} GB", "at most 4 GB", peak <= 4e9)


if __name__ == "__main__":
    main(sys.argv[1:])
