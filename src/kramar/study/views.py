"""What a frozen body sees in each photo, as it is and changed at random; each view is computed once and cached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kramar.config import cache_folder
from kramar.data.manifest import Entry
from kramar.data.store import RowStore
from kramar.models import squares
from kramar.models.networks import Network
from kramar.models.squares import roomy
from kramar.models.weights import Located
from kramar.progress import Progress
from kramar.study.settings import Setting
from kramar.training.augment import DRAWING, POLICIES, draw

_TOGETHER = 32


def views(
    setting: Setting,
    network: Network,
    located: Located,
    entries: Sequence[Entry],
    count: int,
    progress: Progress,
) -> list[Tensor]:
    """``count`` views of the photos, float32 ``[N, D]`` each, on the CPU: the photo as it is, then augmented ones.

    What is drawn depends on the photo and the view's number alone, so that all seeds share the cache.
    """
    digest = located.digest()
    return [_view(setting, network, digest, entries, number, progress) for number in range(count)]


def missing(setting: Setting, network: Network, located: Located, entries: Sequence[Entry], count: int) -> int:
    """How many looks at a photo `views` has to take, those aside that are in the cache."""
    stores = (_store(setting, network, located.digest(), number) for number in range(count))
    return sum(len(_pending(store, entries)) for store in stores)


def _store(setting: Setting, network: Network, digest: str, number: int) -> RowStore[np.float32]:
    architecture, recipe = setting.architecture, setting.recipe
    augment = f"{recipe.augment}-{recipe.strength:g}-{DRAWING}-{number}" if number else "plain"
    parts = (architecture.name.replace(":", "-").replace("/", "-"), digest, architecture.resize.key)
    folder = cache_folder() / "views" / "-".join((*parts, augment, f"torch{torch.__version__}"))
    return RowStore(folder, "embeddings.f32", (network.body.width,), np.float32)


def _pending(store: RowStore[np.float32], entries: Sequence[Entry]) -> list[Entry]:
    return list({entry.hash: entry for entry in entries if entry.hash not in store}.values())


def _view(
    setting: Setting, network: Network, digest: str, entries: Sequence[Entry], number: int, progress: Progress
) -> Tensor:
    architecture, recipe = setting.architecture, setting.recipe
    rule = roomy(architecture.resize) if number else architecture.resize
    store = _store(setting, network, digest, number)
    pending = _pending(store, entries)
    policy = POLICIES[recipe.augment if number else "none"](architecture.resize, recipe.strength)
    photos = squares.squares(pending, rule)
    device = network.mean.device
    network.eval()
    with progress.stage("Looking at photos", len(pending)) as advance, torch.inference_mode():
        for start in range(0, len(pending), _TOGETHER):
            batch = pending[start : start + _TOGETHER]
            drawn = [draw(policy, photos[place], entry.hash, number) for place, entry in enumerate(batch, start)]
            embeddings = network.embed(torch.from_numpy(np.stack(drawn)).to(device))
            store.append([entry.hash for entry in batch], embeddings.cpu().numpy())
            advance(len(batch))
    return torch.from_numpy(store.gather([entry.hash for entry in entries]))
