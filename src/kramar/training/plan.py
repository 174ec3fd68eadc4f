"""Which rungs a run climbs beyond the head, and how they share its time."""

from __future__ import annotations

import functools

from kramar.config import TrainConfig
from kramar.data.pixels import median_side
from kramar.models import backbones, engines
from kramar.models.engines import Opened
from kramar.progress import Progress
from kramar.training.climb import Climbed, Ground
from kramar.training.device import device
from kramar.training.ladder import Planned
from kramar.training.rungs.distilled import DistilledRung
from kramar.training.rungs.quantised import QuantisedRung, copied, reachable
from kramar.training.rungs.tail import CACHING, TailRung
from kramar.training.rungs.views import ViewsRung
from kramar.training.rungs.whole import WholeRung

# So much more of a side than the first network's own input: small things are told apart better (Touvron et al. 2019,
# FixRes), at no byte more, but each photo takes longer.
FINER = 1.25
# It is worth it where there is time for so many views and passes in this share of the budget; a step of a tail takes as
# long as looking at so many photos.
FINER_VIEWS, FINER_PASSES, FINER_SHARE, STEP = 5, 7, 0.6, 0.6
# No smaller input than this is worth its speed; and so much of what one photo takes does not depend on its pixels:
# 3.2 ms at 224 of them each way, 4.7 at 288, 1.7 at 128.
SMALLEST, FIXED_SHARE = 96, 0.3
# Seconds left after the head from which training all layers is worth more than the same time for the tail.
WHOLE_SECONDS = 1200.0
# So much more than it takes is left for the last rung: those before it may take longer than they were expected to.
OVERRUN = 1.25
# A larger network sees what the first one does not, and can teach it; the same of both.
LARGER, LARGER_SECONDS = "efficientnet_lite2", 5000.0


def rungs(ground: Ground, config: TrainConfig, opened: Opened, head: Climbed) -> list[Planned]:
    """The rungs of ``config`` above the ``head``, the lowest first.

    All that a kill must not change is decided by the budget, not by what is left of it.
    """
    accelerator = device()
    side = median_side([entry.photo for entry in ground.material.parts["train"]])
    base = _quicker(ground, config, opened, head) or _finer(ground, config, opened, head, side) or opened.backbone.name
    opener = functools.partial(_opened, base, opened, ground.progress)
    tails = [Planned(TailRung(ground, accelerator, opener))]
    if base.partition("@")[0] != LARGER and backbones.find(LARGER).is_here:
        name = backbones.suited(backbones.find(LARGER), side).name
        larger = functools.partial(_opened, name, opened, ground.progress)
        tails.append(Planned(TailRung(ground, accelerator, larger, LARGER), share=1.5, least=LARGER_SECONDS))
    worthwhile = WHOLE_SECONDS if "tail" in config.rungs else 0.0
    quantised = QuantisedRung(ground)
    size, own = backbones.find(base).resize.size, opened.backbone.resize.size
    longer = (size / own) ** 2
    narrowed = ground.limits.size is not None and copied(ground, head) > ground.limits.size
    # Where no copy of the backbone can be small or fast enough, a student is what the run is for.
    needed = not reachable(ground, base, head.milliseconds * _longer(size, own))
    # Who is of one kind with all the others learns nothing from them, and needs no time.
    taught = needed or (len(tails) > 1 and "tail" in config.rungs)
    reserve = OVERRUN * quantised.seconds(longer * head.milliseconds, narrowed=narrowed)
    known = {
        "views": [Planned(ViewsRung(ground, opener), share=0.35)],
        "tail": tails,
        "whole": [Planned(WholeRung(ground, accelerator, base, opener), share=4.0, least=worthwhile)],
        "distilled": [
            Planned(
                DistilledRung(ground, accelerator, base, opener),
                share=2.0 if taught else 0.0,
                least=0.0 if needed else LARGER_SECONDS,
            )
        ],
        "quantised": [Planned(quantised, share=0.0, reserve=reserve, shrinks=True)],
    }
    return [planned for rung in config.rungs for planned in known.get(rung, ())]


def _longer(size: int, than: int) -> float:
    """So many times as long as at ``than`` pixels each way one photo takes at ``size``."""
    return FIXED_SHARE + (1 - FIXED_SHARE) * (size / than) ** 2


def _quicker(ground: Ground, config: TrainConfig, opened: Opened, head: Climbed) -> str:
    """The first backbone with the largest smaller input that is fast enough for the user's limit; nothing where its own
    is, where a size was asked for, and where none is."""
    limit, own = ground.limits.latency, opened.backbone.resize.size
    if limit is None or head.milliseconds <= limit or "@" in config.backbone:
        return ""
    quick = [size for size in range(SMALLEST, own, 32) if head.milliseconds * _longer(size, own) <= limit]
    if not quick:
        return ""
    ground.progress.say(f"Photos get {max(quick)} pixels each way instead of {own}, for --max-latency")
    return f"{opened.backbone.name.partition('@')[0]}@{max(quick)}"


def _finer(ground: Ground, config: TrainConfig, opened: Opened, head: Climbed, side: int) -> str:
    """The first backbone with a larger input; nothing where a size was asked for, where photos have no more to show,
    and where it would take too long: to train, or for the user's limit."""
    backbone, photos = opened.backbone, len(ground.material.parts["train"])
    size = round(FINER * backbone.resize.size / 32) * 32
    if "@" in backbone.name or side < backbone.resize.size:
        return ""
    limit = ground.limits.latency
    if limit is not None and head.milliseconds * _longer(size, backbone.resize.size) > limit:
        return ""
    a_photo = (size / backbone.resize.size) ** 2 / opened.choice.rates[opened.choice.engine]
    seconds = photos * a_photo * (FINER_VIEWS / CACHING + FINER_PASSES * STEP)
    return f"{backbone.name}@{size}" if seconds <= FINER_SHARE * config.budget else ""


def _opened(name: str, first: Opened, progress: Progress) -> Opened:
    """The backbone called ``name`` as this machine runs it, converted where it was not yet."""
    if name == first.backbone.name:
        return first
    backbone = backbones.find(name)
    converted = engines.prepare(backbone, progress)
    return Opened(backbone, converted, engines.choose(backbone, converted, progress))
