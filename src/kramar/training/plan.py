"""Which rungs a run climbs beyond the head, and how they share its time."""

from __future__ import annotations

import functools

from kramar.config import TrainConfig
from kramar.data.pixels import median_side
from kramar.models import backbones, engines
from kramar.models.backbones import Backbone
from kramar.models.engines import Opened
from kramar.progress import Progress
from kramar.training.climb import Climbed, Ground
from kramar.training.device import device
from kramar.training.ladder import Planned
from kramar.training.rungs.distilled import DistilledRung
from kramar.training.rungs.quantised import QuantisedRung
from kramar.training.rungs.tail import TailRung
from kramar.training.rungs.views import ViewsRung
from kramar.training.rungs.whole import WholeRung

# A larger network, which sees what the first one does not: together they teach better than the better one alone.
LARGER = "efficientnet_lite2"
# So much more of a side than the network's own input: small things are told apart better (Touvron et al. 2019, FixRes),
# at no byte more, but a photo takes longer.
FINER = 1.25
# Seconds of the budget from which other networks than the first one are worth their time.
LARGER_SECONDS = 1200.0
# The same for training all layers.
WHOLE_SECONDS = 1800.0
# Bytes of the smallest backbone's int8 file, without its head.
SMALLEST_BACKBONE = 3.5e6


def rungs(ground: Ground, config: TrainConfig, opened: Opened, head: Climbed) -> list[Planned]:
    """The rungs of ``config`` above the ``head``, the lowest first.

    In a short time, the first network's tail takes all of it. In a longer one it is only the first usable model: most
    of the time goes to other networks, and to what all of them can teach one.
    """
    accelerator = device()
    names = {opened.backbone.name: "", LARGER: LARGER}
    if finer := _finer(ground, opened.backbone, head):
        # The student learns from the maps that are cached last.
        names[finer] = finer
    openers = {name: functools.partial(_opened, name, opened, ground.progress) for name in names}
    teaches = "distilled" in config.rungs and config.budget >= LARGER_SECONDS
    tails = [
        Planned(
            TailRung(ground, accelerator, openers[name], key, teaches=teaches),
            share=2.0 if key else 1.0,
            least=LARGER_SECONDS if key else 0.0,
        )
        for name, key in names.items()
        if backbones.find(name).is_here
    ]
    student = finer or opened.backbone.name
    distilled = DistilledRung(ground, accelerator, student, openers[student])
    quantised = QuantisedRung(ground)
    # A larger network takes three times as long, and is only there to teach.
    whole = WholeRung(ground, accelerator, {name: openers[name] for name in (opened.backbone.name, student)})
    # Where the backbone is too large for the limits, a student is what the run is for.
    needed = ground.limits.size is not None and ground.limits.size < SMALLEST_BACKBONE
    known = {
        "views": [Planned(ViewsRung(ground, openers[opened.backbone.name]), share=0.35)],
        "tail": tails,
        "whole": [Planned(whole, share=4.0, least=WHOLE_SECONDS)],
        "distilled": [Planned(distilled, share=3.0, least=0.0 if needed else LARGER_SECONDS)],
        "quantised": [Planned(quantised, share=0.0, reserve=quantised.seconds)],
    }
    return [planned for rung in config.rungs for planned in known.get(rung, ())]


def _finer(ground: Ground, backbone: Backbone, head: Climbed) -> str:
    """The backbone with a larger input; nothing where a size was asked for, where photos have no more to show, or where
    one would take longer than the limit."""
    size = round(FINER * backbone.resize.size / 32) * 32
    if "@" in backbone.name:
        return ""
    if median_side([entry.photo for entry in ground.material.parts["train"]]) < backbone.resize.size:
        return ""
    latency = head.milliseconds * (size / backbone.resize.size) ** 2
    if ground.limits.latency is not None and latency > ground.limits.latency:
        return ""
    return f"{backbone.name}@{size}"


def _opened(name: str, first: Opened, progress: Progress) -> Opened:
    """The backbone called ``name`` as this machine runs it, converted where it was not yet."""
    if name == first.backbone.name:
        return first
    backbone = backbones.find(name)
    converted = engines.prepare(backbone, progress)
    return Opened(backbone, converted, engines.choose(backbone, converted, progress))
