"""How many single photos a second, and how soon each: ours, LitServe, and a plain handler, with the same model file.

Each way's settings are tried in short runs first. The best of each then take turns, round by round, so that a machine
that slows down does so for all of them; what is told of two ways are the quotients of each round.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import bar
from benchmarks.load import Answered, Load, put
from benchmarks.services import Way, handler, has_litserve, ours

# Options of ours.
OURS = (
    "",
    "--max-batch 1",
    "--max-batch 4",
    "--workers 2",
    "--workers 2 --max-batch 1",
    "--workers 2 --max-batch 4",
)
# Threads of each session, processes, whether they spin.
PLAIN = ("1 1 0", "2 1 0", "2 1 1", "1 2 0", "2 2 0")
# Threads of each session, inference processes, photos of a batch, milliseconds that it waits, threads that decode it,
# HTTP processes.
LITSERVE = ("2 1 1 0 1 1", "1 2 1 0 1 1", "1 2 1 0 1 2", "2 1 8 2 2 1", "1 2 4 2 1 1", "1 2 8 5 2 1", "1 3 1 0 1 1")
KRAMAR_SERVE, PLAIN_HANDLER, LITSERVE_HANDLER, CLASSIFY = (
    "kramar serve", "plain handler", "LitServe", "kramar classify",
)  # fmt: skip
# Of a load, so many before it are not counted.
_WARM = 10


@dataclass(frozen=True)
class Asked:
    """How much is asked: requests of a short run that chooses settings, of a measured one, and rounds of these."""

    tried: int = 300
    requests: int = 1000
    rounds: int = 5
    seconds: int = 20


TINY = Asked(tried=20, requests=30, rounds=1, seconds=1)


def classify_rate(model: Path, photos: Path) -> float:
    """Photos a second of ``kramar classify``, from the first to the last, in a process of its own."""
    code = (
        "import sys, time, kramar; model = kramar.load(sys.argv[1]); list(kramar.classify(model, sys.argv[2]))\n"
        "began = time.perf_counter(); n = len(list(kramar.classify(model, sys.argv[2])))\n"
        "print(n / (time.perf_counter() - began))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model), str(photos)], capture_output=True, encoding="utf-8", check=True
    )
    return float(done.stdout)


def asked(way: Way, photos: Path, requests: int) -> Answered:
    """What ``way`` answers to 16 clients who ask again at once; a tenth before that is not counted."""
    with way() as served:
        put(Load(served.port, str(photos), max(16, requests // _WARM)))
        done = put(Load(served.port, str(photos), requests))
    assert done.good == requests, set(done.statuses)
    return done


class Ways:
    """The ways to serve one model file, each by its name and settings."""

    def __init__(self, model: Path, folder: Path) -> None:
        self._model, self._folder = model, folder
        self.families = {KRAMAR_SERVE: OURS, PLAIN_HANDLER: PLAIN}
        if has_litserve():
            self.families[LITSERVE_HANDLER] = LITSERVE
        else:
            print("      LitServe left out: pip install litserve")

    def way(self, family: str, settings: str) -> Way:
        """How it is started."""
        options = settings.split()
        if family == KRAMAR_SERVE:
            return lambda: ours(self._model, self._folder, options)
        name = "plain_handler" if family == PLAIN_HANDLER else "litserve_handler"
        return lambda: handler(name, self._model, self._folder, options)

    def best(self, photos: Path, requests: int) -> dict[str, str]:
        """The settings of each family with the highest rate in a short run; all ways must give the same labels."""
        found, labels = dict[str, str](), list[str]()
        print("| way | settings | photos/s | p99 ms |\n|---|---|---|---|")
        for family, choices in self.families.items():
            rates = {}
            for settings in choices:
                done = asked(self.way(family, settings), photos, requests)
                labels = labels or done.labels
                assert done.labels == labels, f"{family} {settings} says other labels"
                rates[settings] = done.good / done.wall
                print(f"| {family} | {settings} | {rates[settings]:.1f} | {done.percentile(99):.0f} |", flush=True)
            found[family] = max(rates, key=lambda settings: rates[settings])
        return found


def throughput(model: Path, photos: Path, folder: Path, counts: Asked) -> None:
    """Print the bars of rates and times."""
    ways = Ways(model, folder)
    best = ways.best(photos, counts.tried)
    paired = {family: ways.way(family, settings) for family, settings in best.items()}
    own = [KRAMAR_SERVE]
    if best[KRAMAR_SERVE]:
        own.append(f"{KRAMAR_SERVE} by default")
        paired[own[-1]] = ways.way(KRAMAR_SERVE, "")
    rates = rounds(model, photos, paired, counts)
    print("\n| way | settings | photos/s, median | lowest to highest |\n|---|---|---|---|")
    for name, found in rates.items():
        spread = f"{min(found):.1f} to {max(found):.1f}"
        print(f"| {name} | {best.get(name, '')} | {statistics.median(found):.1f} | {spread} |")
    print()
    for name in own:
        share = quotients(rates[name], rates[CLASSIFY])
        bar(f"{name} of kramar classify's rate", told(share), "at least 80%", statistics.median(share) >= 0.8)
        for other in (one for one in best if one != KRAMAR_SERVE):
            share = quotients(rates[name], rates[other])
            bar(f"{name} against {other} ({best[other]})", told(share), "at least 100%", statistics.median(share) >= 1)
    rate = statistics.median(rates[KRAMAR_SERVE])
    latency(photos, paired, rate, counts)


def rounds(model: Path, photos: Path, paired: dict[str, Way], counts: Asked) -> dict[str, list[float]]:
    """Photos a second of each way in each round; each round begins with another."""
    names = [CLASSIFY, *paired]
    rates: dict[str, list[float]] = {name: [] for name in names}
    for number in range(counts.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if name == CLASSIFY:
                rates[name].append(classify_rate(model, photos))
            else:
                done = asked(paired[name], photos, counts.requests)
                rates[name].append(done.good / done.wall)
    return rates


def quotients(own: Sequence[float], others: Sequence[float]) -> list[float]:
    """Of each round."""
    return [one / other for one, other in zip(own, others, strict=True)]


def told(shares: Sequence[float]) -> str:
    """Their median, the lowest and the highest."""
    return f"{statistics.median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"


def latency(photos: Path, paired: dict[str, Way], rate: float, counts: Asked) -> None:
    """Times at half of ``rate`` and at twice as much, requests starting at that rate whatever becomes of others."""
    found: dict[float, dict[str, Answered]] = {0.5: {}, 2.0: {}}
    for name, way in paired.items():
        with way() as served:
            put(Load(served.port, str(photos), max(16, counts.requests // _WARM)))
            for share, answered in found.items():
                requests = max(20, round(share * rate * counts.seconds))
                answered[name] = put(Load(served.port, str(photos), requests, rate=share * rate))
                time.sleep(2)
    for share, answered in found.items():
        print(f"\nAt {share:g} of {rate:.0f} requests/s, for {counts.seconds} s\n")
        print("| way | p50 ms | p99 ms | answered | refused (429) | other |\n|---|---|---|---|---|---|")
        for name, done in answered.items():
            refused = done.statuses.count(429)
            other = len(done.statuses) - done.good - refused
            times = f"{done.percentile(50):.0f} | {done.percentile(99):.0f}"
            print(f"| {name} | {times} | {done.good} | {refused} | {other} |")
        print()
        others = [done.percentile(99) for name, done in answered.items() if not name.startswith(KRAMAR_SERVE)]
        for name in (name for name in paired if name.startswith(KRAMAR_SERVE)):
            own = answered[name].percentile(99)
            what = f"{name}, p99 at {share:g} of the rate"
            bar(what, f"{own:.0f} ms", f"below {min(others):.0f}", own < min(others))
