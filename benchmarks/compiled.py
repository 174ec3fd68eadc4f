"""Whether ``torch.compile`` pays for its start-up on this CPU: photos a second of training steps with it and without.

Compiling starts from an empty cache. ``python -m benchmarks.compiled [ARCHITECTURE@PIXELS ...]``
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from torch.nn import functional

from benchmarks.harness import scratch
from kramar import machine
from kramar.models import networks
from kramar.models.architectures import find
from kramar.models.networks import Top

ARCHITECTURES = ("convnextv2_atto@192", "efficientnet_lite0@192", "convnet:width=32@32")
BATCH, CLASSES, STEPS, WARM_STEPS = 32, 80, 8, 2


def measure(name: str, *, compiled: bool) -> tuple[float, float]:
    """Photos a second, and seconds until the third step."""
    architecture = find(name)
    size = architecture.resize.size
    network = networks.build(architecture, CLASSES, Top(), 0).train()
    network.to(memory_format=torch.channels_last)
    model: Any = torch.compile(network) if compiled else network
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    images, truth = torch.randint(0, 256, (BATCH, size, size, 3)).byte(), torch.randint(0, CLASSES, (BATCH,))
    began, took, starting = time.perf_counter(), [], 0.0
    for number in range(WARM_STEPS + STEPS):
        if number == WARM_STEPS:
            starting = time.perf_counter() - began
        step = time.perf_counter()
        torch.autograd.backward(functional.cross_entropy(model(images), truth))
        optimiser.step()
        optimiser.zero_grad()
        took.append(time.perf_counter() - step)
    return BATCH / median(took[WARM_STEPS:]), starting


@machine.kept_memory()
def main(names: Sequence[str] = ()) -> None:
    """A line an architecture."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(scratch("compiled"))
    print(
        "| architecture | as it is | compiled | gain | start, as it is | start, compiled |\n|---|---|---|---|---|---|"
    )
    for name in names or ARCHITECTURES:
        plain, start = measure(name, compiled=False)
        fast, longer = measure(name, compiled=True)
        print(
            f"| {name} | {plain:.1f} | {fast:.1f} | {fast / plain:.2f} | {start:.0f} s | {longer:.0f} s |", flush=True
        )


if __name__ == "__main__":
    main(sys.argv[1:])
