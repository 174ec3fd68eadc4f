"""``python -m benchmarks.review_kills [--tiny]``: kill -9 at random moments of a review loses no acknowledged decision.

A reviewer decides photo after photo and says so when the queue has acknowledged it. It is killed at 100 random moments,
on SQLite and on PostgreSQL (Debian's, started here); what was said must be in the history, and no photo decided twice.
"""

from __future__ import annotations

import hashlib
import random
import runpy
import subprocess
import sys
import time
from datetime import UTC, datetime

import numpy as np

from benchmarks.harness import PROJECT, bar, scratch
from kramar.records import Prediction, Ranked
from kramar.reviewing import adding, findings
from kramar.reviewing.database import Database
from kramar.reviewing.records import DOUBTFUL, Doubt, Source

KILLS, WAITING = 100, 100_000
# Seconds after the first decision within which it is killed.
_WITHIN = 0.6
_REVIEWER = """
import sys
from kramar.reviewing.database import Database
from kramar.reviewing.queue import Queue
queue = Queue(Database(sys.argv[1]), strategy="uncertain")
while items := queue.claim(sys.argv[2], 5):
    for item in items:
        made = queue.decide(item.id, sys.argv[2], "accept")
        print(item.id, made.id, flush=True)
"""


def doubt(number: int) -> Doubt:
    """A photo that waits."""
    top = [Ranked(label="a", probability=0.6), Ranked(label="b", probability=0.4)]
    said = Prediction(image=f"{number}.jpg", label="a", probability=0.6, category="a", decision="review", top=top)
    return Doubt(hashlib.sha256(str(number).encode()).hexdigest(), said, np.zeros(4, np.float32), DOUBTFUL)


def killed(url: str, kills: int) -> tuple[int, int, int]:
    """Decisions that were acknowledged, those of them that are lost, and photos that are decided twice."""
    database = Database(url)
    source = Source("a" * 64, "b" * 64, {"a": "a", "b": "b"}, None)
    adding.add(database, source, (doubt(number) for number in range(min(WAITING, 400 * kills))), datetime.now(UTC))
    moments = random.Random(0)  # noqa: S311 - moments to kill at, not secrets
    said: list[tuple[int, int]] = []
    for kill in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", _REVIEWER, url, f"reviewer {kill}"], stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(moments.uniform(0, _WITHIN))
        process.kill()
        rest, _ = process.communicate()
        # What has no end of line was not said.
        lines = (first + rest).splitlines(keepends=True)
        said += [(int(line.split()[0]), int(line.split()[1])) for line in lines if line.endswith("\n")]
    kept = {row.id: row.item for row in findings.history(database)}
    database.close()
    lost = sum(kept.get(made) != item for item, made in said)
    return len(said), lost, len(kept) - len(set(kept.values()))


def main() -> None:
    """Print a line for each database."""
    kills = 3 if "--tiny" in sys.argv else KILLS
    postgres = runpy.run_path(str(PROJECT / "tests" / "postgres.py"))
    told = {"SQLite": killed(str(scratch("kills") / "review.sqlite"), kills)}
    if why := postgres["missing"]():
        print(f"      PostgreSQL left out: {why}")
    else:
        with postgres["server"]() as url:
            told["PostgreSQL"] = killed(url, kills)
    for name, (said, lost, twice) in told.items():
        bar(f"{kills} kills on {name}, {said:,} decisions acknowledged", f"{lost} lost, {twice} twice", "none",
            lost == twice == 0)  # fmt: skip


if __name__ == "__main__":
    main()
