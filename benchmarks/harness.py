"""What the benchmarks share: tables, scratch folders, kramar as a whole process, cached embeddings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kramar.config import DEFAULT_BACKBONE
from kramar.data.listing import Listing, Row
from kramar.data.manifest import Entry, hash_photos
from kramar.models import backbones, engines, features
from kramar.models.store import FeatureStore
from kramar.progress import Silent
from kramar.runtime.session import Scores

PROJECT = Path(__file__).resolve().parent.parent
TABLE = PROJECT.parent / "shared" / "data" / "grocery" / "products.csv"
CIFAR10 = PROJECT.parent / "shared" / "data" / "cifar10"
FASHION = PROJECT / ".cache" / "demo" / "fashion-mnist" / "products.csv"
KRAMAR = str(Path(sys.executable).with_name("kramar"))


@dataclass(frozen=True)
class Finished:
    """A process that ended: wall seconds, peak resident bytes of the largest process, what it printed."""

    seconds: float
    peak_bytes: int
    output: str


def scratch(name: str) -> Path:
    """A new, empty folder that is removed when the benchmark's process ends."""
    import atexit

    folder = Path(tempfile.mkdtemp(prefix=f"kramar-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def environment(cache: Path) -> dict[str, str]:
    """This environment with the feature cache in ``cache``."""
    return {**os.environ, "KRAMAR_CACHE": str(cache)}


def measured(*command: str | Path, cache: Path | None = None) -> Finished:
    """Run ``command`` to its end; fails unless it exits with 0."""
    account = scratch("account") / "account.json"
    done = subprocess.run(
        [sys.executable, str(PROJECT / "benchmarks" / "launch.py"), str(account), *map(str, command)],
        env=environment(cache) if cache else None,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    noted = json.loads(account.read_text(encoding="utf-8"))
    if noted["code"]:
        # The end says why; what comes before it may be all that pip and pytest have to say.
        ends = ["\n".join(said.splitlines()[-40:]) for said in (done.stdout, done.stderr)]
        raise SystemExit("\n".join([f"{' '.join(map(str, command))} exited with {noted['code']}:", *ends]))
    return Finished(noted["seconds"], noted["peak_bytes"], done.stdout + done.stderr)


def run(*command: str, cache: Path) -> Finished:
    """Run kramar with ``command`` to its end; fails unless it exits with 0."""
    return measured(KRAMAR, *command, cache=cache)


def record(run_folder: Path) -> dict[str, Any]:
    """A run's run.json."""
    document: dict[str, Any] = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))
    return document


def bar(what: str, value: str, asked: str, met: bool) -> None:
    """Print one line of the table of bars."""
    print(f"{'ok  ' if met else 'MISS'}  {what:<58} {value:>22}   asked: {asked}")


def embeddings(rows: Sequence[Row]) -> tuple[list[Entry], Scores]:
    """The rows' entries and their default backbone's embeddings, float32 ``[N, D]``, through the user's cache."""
    backbone = backbones.find(DEFAULT_BACKBONE)
    converted = engines.prepare(backbone, Silent())
    choice = engines.choose(backbone, converted, Silent())
    entries, _ = hash_photos(Listing(list(rows)), Silent())
    folder = features.store_folder(backbone, converted, choice)
    store = FeatureStore(folder, backbone.width)
    features.Worker(choice, converted, backbone).fill(store, entries, Silent())
    return entries, store.gather([entry.hash for entry in entries])
