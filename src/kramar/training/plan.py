"""Which rungs a run climbs beyond the head, and how they share its time."""

from __future__ import annotations

import functools

from kramar.config import TrainConfig
from kramar.models import backbones, engines
from kramar.models.engines import Opened
from kramar.training.climb import Ground
from kramar.training.device import device
from kramar.training.ladder import Planned
from kramar.training.rungs.distilled import DistilledRung
from kramar.training.rungs.quantised import QuantisedRung
from kramar.training.rungs.tail import TailRung
from kramar.training.rungs.views import ViewsRung
from kramar.training.rungs.whole import WholeRung

# A larger network sees more, and can teach the first one; it takes three times as long.
LARGER = "efficientnet_lite2"
# Seconds left after the head, from which the larger network, and a student of it, are worth their time.
LARGER_SECONDS = 1200.0
# The same for training all layers.
WHOLE_SECONDS = 3000.0
# Bytes of the smallest backbone's int8 file, without its head.
SMALLEST_BACKBONE = 3.5e6


def rungs(ground: Ground, config: TrainConfig, opened: Opened) -> list[Planned]:
    """The rungs of ``config`` above the head, the lowest first.

    In a short time, the first network's tail takes all of it. In a longer one it is only the first usable model: most
    of the time goes to a larger network, and to what that can teach the first one.
    """
    accelerator = device()

    def first() -> Opened:
        return opened

    @functools.cache
    def larger() -> Opened:
        backbone = backbones.find(LARGER)
        converted = engines.prepare(backbone, ground.progress)
        return Opened(backbone, converted, engines.choose(backbone, converted, ground.progress))

    tails = [Planned(TailRung(ground, accelerator, first, ""))]
    if opened.backbone.name != LARGER and backbones.find(LARGER).is_here:
        tails.append(Planned(TailRung(ground, accelerator, larger, LARGER), share=4.0, least=LARGER_SECONDS))
    student = DistilledRung(ground, accelerator, opened.backbone.name, first)
    quantised = QuantisedRung(ground)
    # Where the backbone is too large for the limits, a student is what the run is for.
    needed = ground.limits.size is not None and ground.limits.size < SMALLEST_BACKBONE
    whole = WholeRung(ground, accelerator, {opened.backbone.name: first, LARGER: larger})
    known = {
        "views": [Planned(ViewsRung(ground, first), share=0.35)],
        "tail": tails,
        "whole": [Planned(whole, share=4.0, least=WHOLE_SECONDS)],
        "distilled": [Planned(student, share=3.0, least=0.0 if needed else LARGER_SECONDS)],
        "quantised": [Planned(quantised, share=0.0, reserve=quantised.seconds)],
    }
    return [planned for rung in config.rungs for planned in known.get(rung, ())]
