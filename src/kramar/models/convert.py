"""From a backbone's PyTorch weights to ONNX, once, in a process of its own: `kramar.models.conversion`.

PyTorch takes seconds to load and over a gigabyte, which a run that finds the converted file in the cache never pays.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kramar import machine
from kramar.errors import FailedError, MissingExtra
from kramar.files import make_folder
from kramar.models.backbones import Backbone

if TYPE_CHECKING:
    from kramar.models.staged import FromPixels

# Changes with anything that changes what the converted file computes.
GRAPH = "last-stages-v2"


def load_torch(backbone: Backbone) -> FromPixels:
    """The backbone in PyTorch, from pixels on. Raises MissingExtra without PyTorch and timm."""
    try:
        from kramar.models import staged
    except ImportError:
        raise MissingExtra("train", f"converting {backbone.name}") from None
    return staged.FromPixels(staged.load(backbone), backbone).eval()


def tap(cut: int) -> str:
    """What the maps before a stage are called in the converted file."""
    return f"before_stage_{cut}"


def convert(backbone: Backbone, path: Path, rate: Path) -> None:
    """Leave the ONNX file at ``path`` and PyTorch's own speed (`engines.TorchRate`) at ``rate``.

    Where another process is at it already, waits for that one's file. Raises OutputError, or FailedError with the
    process's last words.
    """
    make_folder(path.parent)
    command = [sys.executable, "-m", "kramar.models.conversion", backbone.name, str(path), str(rate)]
    # In a session of its own: a Ctrl-C of the terminal is for this process, which may go on.
    done = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    machine.child_ended()
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise FailedError(f"converting {backbone.name} to ONNX failed: {last}")
