"""``kramar.load``: open a model file."""

from __future__ import annotations

import os

from kramar.runtime.model import Model


def load(model: str | os.PathLike[str], *, threads: int | None = None) -> Model:
    """Open ``model`` on ``threads`` threads (default: all cores).

    Raises ModelFileError where it is missing, broken or not kramar's.
    """
    return Model(model, threads)
