"""The service and its clients on this machine.

Its rate and its times beside ``kramar classify`` and a plain handler with the same model file; overload; a model file
that is replaced; large photos; SIGTERM under load.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from PIL import Image

import kramar
from benchmarks.harness import KRAMAR, PROJECT, TABLE, bar, scratch
from benchmarks.load import GONE, Answered, Load, finish, put, start
from kramar.config import cores
from kramar.exporting import onnx_file
from kramar.runtime.model import Model

# Threads of each session and processes, of the plain handler; options of ours.
PLAIN = ((1, 1), (2, 1), (1, 2))
OURS = ((), ("--max-batch", "1"), ("--workers", "2"), ("--workers", "2", "--max-batch", "1"))


@dataclass(frozen=True)
class Counts:
    """How much is asked."""

    photos: int = 1000
    requests: int = 2000
    rounds: int = 5
    overload_seconds: int = 60
    replaced_requests: int = 10_000
    replacements: int = 20
    large: int = 60


@dataclass(frozen=True)
class Served:
    """A service that takes requests, its process, and where its log goes."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def memory(self) -> float:
        """Resident MB of the process and its workers."""
        own = psutil.Process(self.process.pid)
        return float(sum(one.memory_info().rss for one in (own, *own.children(recursive=True))) / 1e6)


@contextlib.contextmanager
def serving(command: Sequence[str | Path], port: int, log: Path) -> Iterator[Served]:
    """The service that ``command`` starts, as long as the block lasts."""
    with log.open("wb") as file:
        process = subprocess.Popen(list(map(str, command)), cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=file)
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert process.poll() is None, log.read_text(encoding="utf-8")
                time.sleep(0.05)
            yield Served(port, process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def free_port() -> int:
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def ours(model: Path, folder: Path, options: Sequence[str] = ()) -> contextlib.AbstractContextManager[Served]:
    """``kramar serve`` with ``options``."""
    port = free_port()
    command: list[str | Path] = [KRAMAR, "serve", model, "--port", str(port), *options]
    return serving(command, port, folder / f"ours-{port}.log")


def plain(model: Path, folder: Path, threads: int, workers: int) -> contextlib.AbstractContextManager[Served]:
    """The plain handler."""
    port = free_port()
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "benchmarks.plain_handler",
        model,
        str(port),
        str(threads),
        str(workers),
    ]
    return serving(command, port, folder / f"plain-{port}.log")


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


def throughput(model: Path, photos: Path, folder: Path, counts: Counts) -> float:
    """Requests a second of each way, in turns; returns ours, with the best options."""
    rates: dict[str, list[float]] = {}
    for _ in range(counts.rounds):
        rates.setdefault("kramar classify", []).append(classify_rate(model, photos))
        ways = [(" ".join(("kramar serve", *options)), ours(model, folder, options)) for options in OURS]
        ways += [(f"plain handler, {t} threads, {w} workers", plain(model, folder, t, w)) for t, w in PLAIN]
        for name, way in ways:
            with way as served:
                put(Load(served.port, str(photos), counts.requests // 10))
                done = put(Load(served.port, str(photos), counts.requests))
            assert done.good == counts.requests, (name, set(done.statuses))
            rates.setdefault(name, []).append(done.good / done.wall)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, found in rates.items():
        print(f"{name:<42} {medians[name]:7.1f} photos/s   ({min(found):.1f} to {max(found):.1f})")
    best = max(rate for name, rate in medians.items() if name.startswith("kramar serve"))
    plainest = max(rate for name, rate in medians.items() if name.startswith("plain"))
    share = best / medians["kramar classify"]
    bar("of kramar classify's rate", f"{share:.0%}", "at least 80%", share >= 0.8)
    bar("against the best plain handler", f"{best / plainest:.2f}x", "at least 1x", best >= plainest)
    return best


def latency(model: Path, photos: Path, folder: Path, counts: Counts, rate: float) -> None:
    """Times at half of ``rate`` and at twice as much, of ours and of the plain handlers."""
    ways = [("kramar serve", ours(model, folder))]
    ways += [(f"plain handler, {t} threads, {w} workers", plain(model, folder, t, w)) for t, w in PLAIN]
    found: dict[float, dict[str, Answered]] = {0.5: {}, 2.0: {}}
    for name, way in ways:
        with way as served:
            put(Load(served.port, str(photos), counts.requests // 10))
            for share, answered in found.items():
                answered[name] = put(Load(served.port, str(photos), counts.requests, rate=share * rate))
    for share, answered in found.items():
        print(f"At {share:g} of {rate:.0f} requests/s")
        for name, done in answered.items():
            print(
                f"  {name:<38} p50 {done.percentile(50):8.1f} ms   p99 {done.percentile(99):8.1f} ms   "
                f"{done.good} of {len(done.statuses)} answered with 200"
            )
        own = answered["kramar serve"].percentile(99)
        least = min(done.percentile(99) for name, done in answered.items() if name != "kramar serve")
        bar(f"p99 at {share:g} of the rate", f"{own:.0f} ms", f"below the handlers' {least:.0f}", own < least)


def overload(model: Path, photos: Path, folder: Path, counts: Counts, rate: float) -> None:
    """Twice the rate for a minute, and what comes after."""
    with ours(model, folder) as served:
        put(Load(served.port, str(photos), round(2 * rate * counts.overload_seconds / 6), rate=2 * rate))
        before = served.memory
        done = put(Load(served.port, str(photos), round(2 * rate * counts.overload_seconds), rate=2 * rate))
        after = served.memory
        time.sleep(5)
        again = put(Load(served.port, str(photos), counts.requests))
        assert served.process.poll() is None
    refused, others = done.statuses.count(429), len(done.statuses) - done.good - done.statuses.count(429)
    bar("p99 of what was accepted", f"{done.percentile(99):.0f} ms", "under 1 s", done.percentile(99) < 1000)
    bar("accepted, refused with 429, anything else", f"{done.good}, {refused}, {others}", "0 else", others == 0)
    bar("memory before and after", f"{before:.0f} and {after:.0f} MB", "at most 20% more", after <= 1.2 * before)
    share = again.good / again.wall / rate
    bar("rate 5 s later", f"{share:.0%}", "at least 90%", share >= 0.9)


def replaced(model: Path, photos: Path, folder: Path, counts: Counts) -> None:
    """Requests while the model file is replaced, once by a broken one."""
    other = folder / "other.onnx"
    card = Model(model).card
    renamed = [one.model_copy(update={"label": f"other/{one.label}"}) for one in card.classes]
    onnx_file.describe(model, card.model_copy(update={"classes": renamed}), other)
    live = folder / "live" / "model.onnx"
    live.parent.mkdir()
    shutil.copy(model, live)
    known = {hashlib.sha256(path.read_bytes()).hexdigest(): path == other for path in (model, other)}
    with ours(live, folder) as served:
        clients = start(Load(served.port, str(photos), counts.replaced_requests))
        for number in range(counts.replacements):
            beside = live.with_suffix(".new")
            if number == counts.replacements // 2:
                beside.write_bytes(model.read_bytes()[:100_000])
            else:
                shutil.copy((other, model)[number % 2], beside)
            beside.replace(live)
            time.sleep(2)
        done = finish(clients)
    mixed = sum(
        known.get(one) is not label.startswith("other/") for one, label in zip(done.models, done.labels, strict=True)
    )
    seen = len(set(done.models))
    bar(
        "requests that failed",
        f"{len(done.statuses) - done.good} of {len(done.statuses)}",
        "0",
        done.good == len(done.statuses),
    )
    bar("answers that mix models", f"{mixed}; {seen} models answered", "0 of 2", mixed == 0 and seen == 2)


def large(model: Path, folder: Path, counts: Counts) -> None:
    """Photos of 50 million pixels in files of some hundred kB, again and again."""
    photos = folder / "large"
    photos.mkdir()
    for mode in ("RGBA", "I;16", "RGB"):
        Image.new(mode, (8160, 6120)).save(photos / f"{len(mode)}.jpg", "PNG")
    with ours(model, folder) as served:
        before, peak = served.memory, 0.0
        clients = start(Load(served.port, str(photos), counts.large, clients=8))
        while clients.poll() is None:
            peak = max(peak, served.memory)
            time.sleep(0.05)
        done = finish(clients)
        time.sleep(5)  # what nobody waits for any more is still being decoded
        after = served.memory
    answers = {status: done.statuses.count(status) for status in sorted(set(done.statuses))}
    print(f"Large photos: {answers}")
    bar("peak memory under large photos", f"{peak:.0f} MB", "at most 1,500 MB", peak <= 1500)
    bar("memory before and after", f"{before:.0f} and {after:.0f} MB", "at most 20% more", after <= 1.2 * before)
    bar("answered, or told", str(len(done.statuses)), "all", set(answers) <= {200, 429, 504})


def ended(model: Path, photos: Path, folder: Path, counts: Counts) -> None:
    """SIGTERM while clients ask."""
    with ours(model, folder) as served:
        put(Load(served.port, str(photos), counts.requests // 10))
        clients = start(Load(served.port, str(photos), counts.requests, clients=32))
        time.sleep(2)
        served.process.send_signal(signal.SIGTERM)
        code = served.process.wait()
        done = finish(clients)
    log = [json.loads(line) for line in served.log.read_text(encoding="utf-8").splitlines()]
    accepted = sum(line["event"] == "request" and line["path"] == "/v1/classify" for line in log)
    answered = len(done.statuses) - done.statuses.count(GONE) + counts.requests // 10
    bar("accepted, and answered", f"{accepted}, {answered}", "all", accepted == answered)
    bar("exit code", str(code), "0", code == 0)


def main(counts: Counts = Counts(), model: Path | None = None) -> None:
    """Train a head (or take ``model``), then all of it."""
    folder = scratch("serve")
    photos = folder / "photos"
    photos.mkdir()
    for number, photo in enumerate(sorted((TABLE.parent / "test").rglob("*.jpg"))[: counts.photos]):
        shutil.copy(photo, photos / f"{number:05}.jpg")
    if model is None:
        model = kramar.train(TABLE, folder / "run", budget="5m", rungs="head").path / "model.onnx"
    print(f"{cores()} cores; {counts.requests:,} requests a way, {counts.rounds} rounds")
    rate = throughput(model, photos, folder, counts)
    latency(model, photos, folder, counts, rate)
    overload(model, photos, folder, counts, rate)
    replaced(model, photos, folder, counts)
    large(model, folder, counts)
    ended(model, photos, folder, counts)
