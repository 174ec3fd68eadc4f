"""The photos of a run as its frozen backbone sees them: those that can be read, and that its budget has time for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kramar.config import TrainConfig
from kramar.data.listing import refuse
from kramar.data.manifest import Entry
from kramar.errors import DataError
from kramar.jobs.gather import Gathered
from kramar.jobs.run import RunFolder
from kramar.models import features
from kramar.models.backbones import Backbone
from kramar.models.engines import Choice, Converted
from kramar.models.features import Pass, Worker
from kramar.models.store import FeatureStore
from kramar.records import LeftOut
from kramar.training.budget import affordable, thinned


@dataclass(frozen=True, slots=True)
class Looked:
    """The readable photos, the store that has their embeddings, how that went, and what was left out of it."""

    entries: list[Entry]
    store: FeatureStore
    done: Pass
    left_out: list[LeftOut]
    warnings: list[str]


def look(
    source: Path,
    config: TrainConfig,
    network: Backbone,
    converted: Converted,
    choice: Choice,
    gathered: Gathered,
    run: RunFolder,
) -> Looked:
    """See the photos of ``gathered`` that ``run`` has time for. Raises DataError where none can be read."""
    worker = Worker(choice, converted, network)
    store = FeatureStore(features.store_folder(network, converted, choice), network.width)
    entries, warnings = gathered.entries, []
    chosen = _affordable(entries, store, worker, network, config, run)
    kept = {id(entry) for entry in chosen}
    left_out = [
        LeftOut(image=entry.image, kind="over_budget", detail="no time for it in the budget")
        for entry in entries
        if id(entry) not in kept
    ]
    if left_out:
        warnings.append(
            f"the budget has time for {len(chosen):,} of {len(entries):,} photos; a longer --budget uses all"
        )
        run.say(f"Warning: {warnings[0]}")
    if config.strict:
        refuse([*gathered.left_out, *left_out], source)
    done = worker.fill(store, chosen, run)
    if config.strict:
        refuse(done.left_out, source)
    readable = [entry for entry in chosen if entry.hash in store]
    if not readable:
        first = done.left_out[0]
        raise DataError(
            f"{source}: none of the {len(chosen)} photos can be read, the first {first.image!r}: {first.detail}"
        )
    return Looked(readable, store, done, [*left_out, *done.left_out], warnings)


def _affordable(
    entries: list[Entry], store: FeatureStore, worker: Worker, network: Backbone, config: TrainConfig, run: RunFolder
) -> list[Entry]:
    allowed = run.plan.photos
    if allowed is None:
        pending = features.missing(store, entries)
        rate = worker.expected(pending, entries)
        left = config.budget - run.elapsed
        allowed = affordable(entries, len(pending), rate, network.width, left)
        run.choose(photos=allowed)
    return entries if allowed >= len(entries) else thinned(entries, allowed)
