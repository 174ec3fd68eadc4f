"""``python -m benchmarks.serve [throughput] [overload] [reload] [large] [stop] [--model FILE] [--tiny]``.

The service and its clients on this machine: its rate and its times beside other ways to serve the same model file
(`benchmarks.throughput`); twice what it can answer, for a minute; a model file that is replaced while requests come;
large photos; SIGTERM under load. By default all of them, with a head that is trained for it; ``--model`` takes a file
that is there, ``--tiny`` only shows that it runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import signal
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

import kramar
from benchmarks import throughput
from benchmarks.harness import TABLE, bar, scratch
from benchmarks.load import GONE, Load, finish, put, start
from benchmarks.services import ours
from kramar.config import cores
from kramar.exporting import onnx_file
from kramar.runtime.model import Model

PARTS = ("throughput", "overload", "reload", "large", "stop")


@dataclass(frozen=True)
class Counts:
    """How much is asked."""

    photos: int = 1000
    requests: int = 1000
    overload_seconds: int = 60
    replaced_requests: int = 10_000
    replacements: int = 20
    large: int = 60
    throughput: throughput.Asked = field(default_factory=throughput.Asked)


TINY = Counts(60, 300, 2, 800, 4, 6, throughput.TINY)


def overload(model: Path, photos: Path, folder: Path, counts: Counts) -> None:
    """Twice what it sustains for a minute, and what comes after."""
    with ours(model, folder) as served:
        put(Load(served.port, str(photos), counts.requests // 10))
        usual = put(Load(served.port, str(photos), counts.requests))
        rate = usual.good / usual.wall
        # A sixth of it first, in which queues and memory pools fill.
        put(Load(served.port, str(photos), round(2 * rate * counts.overload_seconds / 6), rate=2 * rate))
        before = served.memory
        done = put(Load(served.port, str(photos), round(2 * rate * counts.overload_seconds), rate=2 * rate))
        after = served.memory
        time.sleep(5)
        again = put(Load(served.port, str(photos), counts.requests))
        assert served.process.poll() is None
    refused, others = done.statuses.count(429), len(done.statuses) - done.good - done.statuses.count(429)
    print(f"\nOverload: {2 * rate:.0f} requests/s for {done.wall:.0f} s, where {rate:.0f} are sustained")
    bar("p99 of what was accepted", f"{done.percentile(99):.0f} ms", "under 1 s", done.percentile(99) < 1000)
    bar("accepted, refused with 429, anything else", f"{done.good}, {refused}, {others}", "0 else", others == 0)
    bar("memory before and after", f"{before:.0f} and {after:.0f} MB", "at most 10% more", after <= 1.1 * before)
    share = again.good / again.wall / rate
    bar("rate 5 s later, of that before", f"{share:.0%}", "at least 95%", share >= 0.95)


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
        clients = start(Load(served.port, str(photos), counts.replaced_requests, each=5))
        for number in range(counts.replacements):
            beside = live.with_suffix(".new")
            if number == counts.replacements // 2:
                beside.write_bytes(model.read_bytes()[:100_000])
            else:
                shutil.copy((other, model)[number % 2], beside)
            beside.replace(live)
            time.sleep(2)
        under_way = clients.poll() is None
        done = finish(clients)
        with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/metrics") as answer:
            figures = answer.read().decode()
    loads, refusals = (
        int(float(found[1]) if (found := re.search(rf'reloads_total{{result="{result}"}} (\S+)', figures)) else 0)
        for result in ("loaded", "refused")
    )
    # Every answer names the model that gave it, and each of its labels is one of that model's.
    mixed = sum(
        {known[one]} != {label.startswith("other/") for label in labels.split("\n")}
        for one, labels in zip(done.models, done.labels, strict=True)
        if one
    )
    seen, failed = len({one for one in done.models if one}), len(done.statuses) - done.good
    print(f"\nReplaced: {counts.replacements} times in {2 * counts.replacements} s; each tenth request had 5 photos")
    bar("requests that failed", f"{failed} of {len(done.statuses)}", "0", failed == 0)
    bar("answers that mix models", f"{mixed}; {seen} models answered", "0; 2", mixed == 0 and seen == 2)
    bar("replacements loaded, refused", f"{loads}, {refusals}", f"{counts.replacements - 1}, 1",
        (loads, refusals) == (counts.replacements - 1, 1))  # fmt: skip
    bar("requests came until the last replacement", str(under_way), "True", under_way)


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
    print(f"\nLarge photos: {answers}")
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
    print("\nSIGTERM under load")
    log = [json.loads(line) for line in served.log.read_text(encoding="utf-8").splitlines()]
    accepted = sum(line["event"] == "request" and line["path"] == "/v1/classify" for line in log)
    answered = len(done.statuses) - done.statuses.count(GONE) + counts.requests // 10
    bar("accepted, and answered", f"{accepted}, {answered}", "all", accepted == answered)
    bar("exit code", str(code), "0", code == 0)


def main(given: list[str] | None = None) -> None:
    """The parts that are named, by default all, of a model that is given or trained."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--model", type=Path, help="a model file of Grocery's photos, instead of training a head")
    parser.add_argument("--tiny", action="store_true", help="only show that it runs")
    asked = parser.parse_args([] if given is None else given)
    if others := set(asked.parts) - set(PARTS):
        parser.error(f"expected some of {', '.join(PARTS)}, found {', '.join(sorted(others))}")
    parts, counts = asked.parts or PARTS, TINY if asked.tiny else Counts()
    folder = scratch("serve")
    photos = folder / "photos"
    photos.mkdir()
    for number, photo in enumerate(sorted((TABLE.parent / "test").rglob("*.jpg"))[: counts.photos]):
        shutil.copy(photo, photos / f"{number:05}.jpg")
    model = asked.model or kramar.train(TABLE, folder / "run", budget="5m", rungs="head").path / "model.onnx"
    print(f"{cores()} cores, {counts.photos:,} photos, {model}")
    if "throughput" in parts:
        throughput.throughput(model, photos, folder, counts.throughput)
    if "overload" in parts:
        overload(model, photos, folder, counts)
    if "reload" in parts:
        replaced(model, photos, folder, counts)
    if "large" in parts:
        large(model, folder, counts)
    if "stop" in parts:
        ended(model, photos, folder, counts)


if __name__ == "__main__":
    main(sys.argv[1:])
