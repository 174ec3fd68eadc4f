"""What a network in PyTorch says of photos."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kramar.decisions.calibration import fit_temperature, log_loss
from kramar.models.engines import whole_float32
from kramar.models.squares import Squares
from kramar.runtime.session import Scores

# Photos a forward pass: enough to keep the cores busy; of large ones fewer, or their first maps take gigabytes.
_MOST, _PIXELS = 32, 8 * 224**2


def together(size: int) -> int:
    """Photos of ``size`` pixels a side that are looked at in one forward pass."""
    return max(1, min(_MOST, _PIXELS // size**2))


def answer(model: nn.Module, photos: Squares) -> Scores:
    """Logits, float32 ``[N, C]``, of ``model``, which is in evaluation mode."""
    return said(model, next(model.parameters()).device, photos)


def said(asked: Callable[[Tensor], Tensor], device: torch.device, photos: Squares) -> Scores:
    """What ``asked`` gives of photos, or of maps, float32 ``[N, D]``; ``[0, 1]`` of none."""
    found: list[Tensor] = []
    with torch.inference_mode(), whole_float32():
        step = together(len(photos[0])) if len(photos) else 1
        for first in range(0, len(photos), step):
            batch = np.stack([photos[i] for i in range(first, min(first + step, len(photos)))])
            found.append(asked(torch.from_numpy(batch).to(device)).float().cpu())
    return np.asarray(torch.cat(found).numpy()) if found else np.zeros((0, 1), np.float32)


def calibrated(logits: Scores, truth: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Log loss at its own temperature, and accuracy, of logits ``[N, C]``.

    Smoothed and mixed targets make a network unsure, which its temperature will undo.
    """
    loss = log_loss(logits, truth, fit_temperature(logits, truth))
    return loss, float((logits.argmax(axis=1) == truth).mean())
