"""``python -m benchmarks.web_export [--model FILE] [--photos N] [--package FILE]``: the exported page in Chromium
beside the service, on the same photos: labels, decisions, photos/s."""

from __future__ import annotations

import argparse
import csv
import io
import json
import runpy
import shutil
import time
import urllib.request
from pathlib import Path
from typing import Any

import kramar
from benchmarks.harness import PROJECT, TABLE, bar, scratch
from benchmarks.services import ours

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Of labels and decisions together.
AGREEMENT = 0.99


def of_the_service(model: Path, photos: list[Path], folder: Path) -> list[dict[str, Any]]:
    """The service's rows."""
    with ours(model, folder) as served:
        rows = []
        for photo in photos:
            asked = urllib.request.Request(
                f"http://127.0.0.1:{served.port}/v1/classify",
                photo.read_bytes(),
                {"Content-Type": "application/octet-stream"},
            )
            with urllib.request.urlopen(asked) as answer:  # noqa: S310
                rows += json.load(answer)["predictions"]
    return rows


def of_the_page(address: str, photos: list[Path]) -> tuple[list[dict[str, str]], float]:
    """The page's rows, in the order of ``photos``, and how many seconds it took for all of them, once it was ready."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page()
        page.goto(address)
        expect(page.locator("#model")).to_be_visible(timeout=120_000)
        # It keeps its files first, so that this is not timed.
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        began = time.perf_counter()
        page.set_input_files("#files", photos)
        expect(page.locator("#rows li")).to_have_count(len(photos), timeout=60_000)
        expect(page.locator("#rows li[data-kind=waiting]")).to_have_count(0, timeout=1000 * 5 * len(photos))
        seconds = time.perf_counter() - began
        expect(page.locator("#csv")).to_be_enabled()
        with page.expect_download() as found:
            page.click("#csv")
        text = Path(found.value.path()).read_text(encoding="utf-8-sig")
        browser.close()
    rows = {row["image"]: row for row in csv.DictReader(io.StringIO(text))}
    return [rows[photo.name] for photo in photos], seconds


def main(count: int = 200, model: Path | None = None, package: Path | None = None) -> None:
    """Train a head (or take ``model``), export it, then ask both."""
    folder = scratch("web-export")
    source = sorted((TABLE.parent / "test").rglob("*.jpg"))
    (folder / "photos").mkdir()
    photos = []
    for number in range(count):
        photos.append(folder / "photos" / f"{number:05}.jpg")
        shutil.copy(source[number * len(source) // count], photos[-1])
    if model is None:
        model = kramar.train(TABLE, folder / "run", budget="5m", rungs="head").path / "model.onnx"
    done = kramar.export(model, folder / "web", format="web", package=package)
    print(
        f"{done.bytes / 1e6:.1f} MB in {len(done.files)} files, of a model file of {model.stat().st_size / 1e6:.1f} MB"
    )
    expected = of_the_service(model, photos, folder)
    # The host of the tests of the page.
    hosting = runpy.run_path(str(PROJECT / "tests" / "static_host.py"))["hosting"]
    with hosting(folder / "web") as address:
        found, seconds = of_the_page(address, photos)
    same, farthest = 0, 0.0
    for photo, theirs, own in zip(photos, expected, found, strict=True):
        says = [(row["label"], row["category"], row["decision"]) for row in (theirs, own)]
        farthest = max(farthest, abs(theirs["probability"] - float(own["probability"])))
        same += says[0] == says[1]
        if says[0] != says[1]:
            original = source[int(photo.stem) * len(source) // count].relative_to(TABLE.parent)
            print(f"  {original}: service {says[0]} {theirs['probability']:.4f}, page {says[1]} {own['probability']}")
    bar("labels and decisions that agree", f"{same} of {count}", f"at least {AGREEMENT:.0%}", same >= AGREEMENT * count)
    print(f"largest difference in the label's probability: {farthest:.2g}")
    print(f"{count / seconds:.2f} photos/s in Chromium, one thread, decoding included")


if __name__ == "__main__":
    asked = argparse.ArgumentParser(prog="python -m benchmarks.web_export", description=__doc__)
    asked.add_argument("--photos", type=int, default=200)
    asked.add_argument("--model", type=Path)
    asked.add_argument("--package", type=Path, help="onnxruntime-web's tarball, instead of fetching it from npm")
    given = asked.parse_args()
    main(given.photos, given.model, given.package)
