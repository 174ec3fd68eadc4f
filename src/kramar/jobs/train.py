"""``kramar train``: from labelled photos to a verified model file and a report."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from kramar.config import (
    DEFAULT_BACKBONE,
    DEFAULT_BUDGET,
    DEFAULT_CACHE_SIZE,
    DEFAULT_PRECISION,
    DEFAULT_SEED,
    RUNGS,
    RUNS_FOLDER,
    TrainConfig,
    duration,
    parse_duration,
    parse_latency,
    parse_rungs,
    parse_share,
    parse_size,
)
from kramar.data.columns import spelt
from kramar.data.pixels import median_side
from kramar.jobs.account import given_limits
from kramar.jobs.gather import gather
from kramar.jobs.run import Run, finished, name_of, opened
from kramar.jobs.train_run import Training
from kramar.models import backbones
from kramar.progress import Progress, Silent


def train(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    budget: str | float = DEFAULT_BUDGET,
    max_size: str | float | None = None,
    max_latency: str | float | None = None,
    backbone: str = DEFAULT_BACKBONE,
    rungs: str | Sequence[str] = RUNGS,
    cache_size: str | float = DEFAULT_CACHE_SIZE,
    precision: str | float = DEFAULT_PRECISION,
    seed: int = DEFAULT_SEED,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    class_precision: bool = False,
    class_sets: bool = False,
    skip_audit: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train, calibrate, verify and report a model for the labelled photos in ``data``.

    Args:
        data: a folder of class folders, or a CSV, JSONL or Parquet table.
        out: the run folder, by default ``kramar-runs/NAME_OF_DATA``. A run that was interrupted goes on; a finished
            one is returned as it is.
        budget: wall time of the whole command, summed over resumes (``"10m"``, or seconds).
        max_size: what the model file may take at most (``"4.4MB"``, or bytes).
        max_latency: what one ready photo may take at most (``"20ms"``, or milliseconds).
        backbone: the network whose features are used.
        rungs: those of the ladder that may be climbed (``"head,tail"``).
        cache_size: what cached maps may take at most (``"2GB"``, or bytes).
        precision: the share of answers without a person that is promised to be right.
        seed: of the split, the folds, training and the bootstrap.
        columns: the table's column names by kramar's (``{"image": "photo"}``).
        strict: fail where any photo, row or file has to be left out.
        class_precision: promise the precision of the answers of each class alone: of a class whose validation photos
            do not show it, none is given without a person.
        class_sets: promise the coverage of sets for each class alone, where it has validation photos enough.
        skip_audit: do not look the photos over first; copies of one may then be in training and in test.
        progress: who listens; nobody by default.

    Returns:
        The finished run. The first Ctrl-C after the first rung ends the rung that is climbed, and finishes well.

    Raises:
        InputError: the data or an option is wrong; nothing was written.
        FailedError: the machine said no, or no model is within the limits.
    """
    config = TrainConfig(
        budget=parse_duration(budget),
        backbone=backbone,
        max_size=None if max_size is None else parse_size(max_size, "--max-size"),
        max_latency=None if max_latency is None else parse_latency(max_latency),
        cache_size=parse_size(cache_size, "--cache-size"),
        rungs=parse_rungs(rungs),
        precision=parse_share(precision, "--precision"),
        seed=seed,
        strict=strict,
        columns=dict(columns or {}),
        class_precision=class_precision,
        class_sets=class_sets,
        skip_audit=skip_audit,
    )
    source = Path(data)
    folder = Path(out) if out is not None else Path(RUNS_FOLDER) / name_of(source)
    listener = progress or Silent()
    started = time.monotonic()
    network = backbones.find(config.backbone)
    network.weights_file()
    gathered = gather(source, config, listener)
    options = {
        "--budget": duration(config.budget),
        "--backbone": config.backbone,
        "--seed": str(config.seed),
        "--strict": str(config.strict),
        "--columns": spelt(config.columns),
        **given_limits(config),
    }
    done = finished(folder, options, gathered.fingerprint)
    if done is not None:
        listener.say(f"{folder} is finished already: nothing to do")
        return done
    with opened(folder, options, str(source), gathered.fingerprint, listener, started) as run:
        # Another process may have finished it between the two looks.
        if (done := finished(folder, options, gathered.fingerprint)) is not None:
            return done
        run.rooms["data"] = time.monotonic() - started
        side = median_side([entry.photo for entry in gathered.entries])
        return Training(source, config, backbones.suited(network, side), gathered, run).finish()
