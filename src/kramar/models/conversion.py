"""The process that converts: ``python -m kramar.models.conversion NAME OUT.onnx RATE.json``."""

from __future__ import annotations

import glob
import sys
from pathlib import Path

from filelock import FileLock

from kramar.errors import KramarError
from kramar.files import replacing, write_text
from kramar.models.backbones import Backbone, find
from kramar.models.convert import load_torch
from kramar.models.engines import TorchEngine, TorchRate, bare_rate
from kramar.models.onnx_graph import set_outputs, to_onnx


def lock_of(path: Path) -> FileLock:
    """Who holds it is the only one that converts to ``path``."""
    return FileLock(path.with_name(f"{path.name}.lock"))


def make(backbone: Backbone, path: Path, rate: Path) -> None:
    """Convert to ``path`` and measure to ``rate``, whichever is not there by the time that the lock is free."""
    # Held by the process that works, not by the run that waits for it: after kill -9 of the run alone this one goes
    # on, and the next run takes its file. So what lies there while nobody else holds the lock, nobody is writing.
    with lock_of(path):
        for unfinished in (path, rate):
            for leftover in path.parent.glob(f".{glob.escape(unfinished.name)}.*.tmp"):
                leftover.unlink(missing_ok=True)
        if not path.is_file():
            with replacing(path) as temporary:
                network = load_torch(backbone)
                to_onnx(network, backbone.resize.size, temporary, network.outputs)
                # The taps stay in the graph by their names, and cost nothing until one is opened.
                set_outputs(temporary, temporary, ["feature_map", "embedding"])
                _measure(backbone, temporary, rate)
        elif not rate.is_file():
            _measure(backbone, path, rate)


def _measure(backbone: Backbone, path: Path, rate: Path) -> None:
    engine = TorchEngine(path, backbone)
    measured = TorchRate(precision=engine.precision, rate=bare_rate(engine, backbone.resize.size))
    write_text(rate, measured.model_dump_json())


if __name__ == "__main__":
    try:
        make(find(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
    except KramarError as error:
        sys.exit(str(error))
