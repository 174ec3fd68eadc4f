"""The devices of this machine, as trainings have them."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from kramar.config import cores


def device() -> Accelerator:
    """The devices of this machine, with mixed precision where the device gains from it."""
    if not torch.cuda.is_available():
        torch.set_num_threads(cores())
        # Else Apple's GPU would be one of them, which lacks operations that networks here have.
        return Accelerator(cpu=True, mixed_precision="no")
    # float16 needs its losses scaled, by a factor that a resumed training would have to know.
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return Accelerator(mixed_precision="bf16" if has_bf16 else "no")
