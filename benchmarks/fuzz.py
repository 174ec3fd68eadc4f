"""``python -m benchmarks.fuzz [--examples N] [--seed N] [--tiny]``: whatever is sent, the answer is a described one.

schemathesis (``pip install schemathesis``; 4.32.5 was measured, a tool of this benchmark alone) draws requests from the
service's own description, right ones and wrong ones, and checks every answer against it with all of its checks: status,
content type, headers, fields, wrong data refused, right data taken, other methods, keys. Once each of a service that
anyone may ask and of one with keys. Then what was made by hand to break it (`benchmarks.hostile`).
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks import hostile
from benchmarks.harness import PROJECT, bar, scratch
from benchmarks.services import Served, ours

EXAMPLES, SEED = 300, 0
KEY = "a key of the benchmark"
# Of wrong data, and what it may be answered; 413 is ours: more photos, or a larger body, than the description allows.
_CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 404, 405, 413, 415, 422, 429]
"""
_WITH_KEYS = f"""
[auth.openapi.APIKeyHeader]
api_key = "{KEY}"
"""


def model_file(path: Path) -> Path:
    """A model file of a few hundred bytes with heat maps, as the tests have it."""
    sys.path.insert(0, str(PROJECT / "tests"))
    made: Path = importlib.import_module("served").model_file(path, maps=True)
    return made


def found(served: Served, folder: Path, seed: int, examples: int, config: str) -> tuple[int, str, str]:
    """The exit code of schemathesis, how many requests it made, and the lines that say what failed."""
    (folder / "schemathesis.toml").write_text(config, encoding="utf-8")
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "--config-file", str(folder / "schemathesis.toml"),
            "run", f"http://127.0.0.1:{served.port}/openapi.json",
            "--checks", "all", "--mode", "all",
            "--seed", str(seed), "--max-examples", str(examples), "--generation-database", "none",
            "--continue-on-failure", "--no-color",
        ],
        cwd=folder,
        env=os.environ | {
            "SCHEMATHESIS_HOOKS": "benchmarks.fuzz_hooks",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")])),
        },
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )  # fmt: skip
    said = [line[:300] for line in (done.stdout + done.stderr).splitlines() if not line.lstrip().startswith("curl")]
    made = re.search(r"(\d+) generated", done.stdout)
    if done.returncode and made is None:
        sys.exit("\n".join(said[-40:]))
    failed = said[said.index(next(line for line in said if " FAILURES " in line)) :] if done.returncode else []
    return done.returncode, made[1] if made else "0", "\n".join(failed)


def statuses(served: Served) -> str:
    """How often each endpoint answered with which status, by the service's own log: refusals alone test little."""
    counts: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
    for line in served.log.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        if one["event"] == "request":
            counts[one["path"]][one["status"]] += 1
    return "\n".join(
        f"      {path:<14} " + ", ".join(f"{status}: {n:,}" for status, n in sorted(own.items()))
        for path, own in sorted(counts.items())
    )


def fuzzed(seed: int, examples: int) -> None:
    """Print a line for each service."""
    folder = scratch("fuzz")
    model = model_file(folder / "model.onnx")
    keys = folder / "keys.txt"
    keys.write_text(f"fuzz:{hashlib.sha256(KEY.encode()).hexdigest()}\n", encoding="utf-8")
    services: dict[str, tuple[list[str], str]] = {
        "open": ([], _CONFIG),
        "with keys": (["--api-key-file", str(keys), "--rate", "100000"], _CONFIG + _WITH_KEYS),
    }
    for name, (options, config) in services.items():
        with ours(model, folder, options) as served:
            code, made, failed = found(served, folder, seed, examples, config)
        print(statuses(served))
        if failed:
            print(failed)
        bar(f"schemathesis, {name}, {made} requests, seed {seed}", f"exit code {code}", "0", code == 0)


def main(given: list[str] | None = None) -> None:
    """Both parts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="of each endpoint")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--tiny", action="store_true", help="only show that it runs")
    asked = parser.parse_args([] if given is None else given)
    if importlib.util.find_spec("schemathesis") is None:
        print("      schemathesis left out: pip install schemathesis")
    else:
        fuzzed(asked.seed, 10 if asked.tiny else asked.examples)
    hostile.main(2 if asked.tiny else hostile.ROUNDS)


if __name__ == "__main__":
    main(sys.argv[1:])
