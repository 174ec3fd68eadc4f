"""Kill -9 at five random moments, each followed by the same command."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

from benchmarks.harness import KRAMAR, TABLE, bar, environment, record, run, scratch

KILLS = 5
SHA256_BYTES = 32


def committed(cache: Path) -> int:
    """Features in the cache that are whole."""
    return sum(path.stat().st_size // SHA256_BYTES for path in cache.glob("features/*/photos.sha256"))


def main() -> None:
    """Compare a run that was killed with one that was not."""
    folder = scratch("kills")
    command = ("train", str(TABLE), "--budget", "5m", "--rungs", "head", "--out")
    whole = run(*command, str(folder / "whole"), cache=folder / "whole-cache")
    photos = record(folder / "whole")["data"]["photos"]
    generator = random.Random(0)  # noqa: S311 - moments to kill at, not secrets
    cache = folder / "killed-cache"
    kept = []
    for _ in range(KILLS):
        process = subprocess.Popen(
            [KRAMAR, *command, str(folder / "killed")],
            env=environment(cache),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(generator.uniform(1, whole.seconds / 3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept.append(committed(cache))
    last = run(*command, str(folder / "killed"), cache=cache)
    interrupted = record(folder / "killed")
    print(f"      features committed after each kill: {kept}; the last run took {last.seconds:.1f} s")
    grows = kept == sorted(kept)
    bar("no committed feature is lost", str(grows), "yes", grows)
    computed = interrupted["features"]["computed"]
    bar(
        "features computed after the last kill",
        str(computed),
        f"{photos - kept[-1]}",
        computed == photos - kept[-1],
    )
    bar(
        "features in the cache at the end",
        str(committed(cache)),
        f"{photos}, each once",
        committed(cache) == photos,
    )
    same = interrupted["model"]["sha256"] == record(folder / "whole")["model"]["sha256"]
    bar("model file byte for byte that of the whole run", str(same), "the same predictions", same)
