"""``python -m benchmarks.review_kills [--tiny]``: kill -9 of the desk at random moments loses no acknowledged decision.

Two reviewers decide photo after photo at one ``kramar review``. It is killed at 100 random moments, on SQLite and on
PostgreSQL (Debian's, started here); what it acknowledged must be in the history, and no photo decided twice.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import runpy
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.harness import KRAMAR, PROJECT, bar, scratch
from kramar.records import Prediction, Ranked
from kramar.reviewing import adding, findings
from kramar.reviewing.database import Database
from kramar.reviewing.records import DOUBTFUL, Doubt, Source

KILLS, WAITING = 100, 20_000
# Seconds after the address is known within which it is killed.
_WITHIN = 1.5


def doubt(number: int) -> Doubt:
    """A photo that waits."""
    top = [Ranked(label="a", probability=0.6), Ranked(label="b", probability=0.4)]
    said = Prediction(image=f"{number}.jpg", label="a", probability=0.6, category="a", decision="review", top=top)
    return Doubt(hashlib.sha256(str(number).encode()).hexdigest(), said, np.zeros(4, np.float32), DOUBTFUL)


def decided(address: str, reviewer: str) -> list[tuple[int, int]]:
    """Items and decisions that the desk acknowledged until it was gone."""
    told: list[tuple[int, int]] = []
    connection = http.client.HTTPConnection(urlsplit(address).netloc)

    def ask(what: str, **given: object) -> Any:
        connection.request(
            "POST", f"/v1/{what}", json.dumps({"reviewer": reviewer, **given}), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        said = json.loads(answer.read())
        assert answer.status == 200, said
        return said

    try:
        while items := ask("claims", most=5)["items"]:
            for item in items:
                made = ask("decisions", item=item["id"], kind="accept")
                told.append((item["id"], made["id"]))
    except (OSError, http.client.HTTPException, ValueError):
        pass  # it was killed, perhaps within an answer: what was not all said was not acknowledged
    return told


def killed(url: str, model: Path, kills: int) -> tuple[int, int, int]:
    """Decisions that were acknowledged, those of them that are lost, and photos that are decided twice."""
    database = Database(url)
    source = Source("a" * 64, "b" * 64, {"a": "a", "b": "b"}, None)
    adding.add(database, source, (doubt(number) for number in range(min(WAITING, 400 * kills))), datetime.now(UTC))
    moments = random.Random(0)  # noqa: S311 - moments to kill at, not secrets
    said: list[tuple[int, int]] = []
    with ThreadPoolExecutor(2) as reviewers:
        for kill in range(kills):
            process = subprocess.Popen(
                [KRAMAR, "review", str(model), "--database", url, "--port", "0"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
            )
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            work = [reviewers.submit(decided, address, f"reviewer {kill}-{number}") for number in range(2)]
            time.sleep(moments.uniform(0, _WITHIN))
            process.kill()
            process.communicate()
            said += [one for own in work for one in own.result()]
    kept = {row.id: row.item for row in findings.entries(database)}
    database.close()
    lost = sum(kept.get(made) != item for item, made in said)
    return len(said), lost, len(kept) - len(set(kept.values()))


def main() -> None:
    """Print a line for each database."""
    kills = 3 if "--tiny" in sys.argv else KILLS
    postgres = runpy.run_path(str(PROJECT / "tests" / "postgres.py"))
    folder = scratch("kills")
    # The desk shows which model file is there, and opens none.
    model = folder / "model.onnx"
    model.write_bytes(b"a model")
    told = {"SQLite": killed(str(folder / "review.sqlite"), model, kills)}
    if why := postgres["missing"]():
        print(f"      PostgreSQL left out: {why}")
    else:
        with postgres["server"]() as url:
            told["PostgreSQL"] = killed(url, model, kills)
    for name, (said, lost, twice) in told.items():
        bar(f"{kills} kills on {name}, {said:,} decisions acknowledged", f"{lost} lost, {twice} twice", "none",
            lost == twice == 0)  # fmt: skip


if __name__ == "__main__":
    main()
