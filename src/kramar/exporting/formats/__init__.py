"""Formats that a model file is exported to: one file each, found by its name (``onnx-int8`` is ``onnx_int8.py``)."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

from kramar.errors import InputError

if TYPE_CHECKING:
    from kramar.exporting.exported import Format

# The names alone: what a format needs is imported when it is asked for.
NAMES = tuple(sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)))


def find(name: str) -> Format:
    """The format of this name. Raises InputError where there is none."""
    if name not in NAMES:
        raise InputError(f"--format: expected {', '.join(NAMES[:-1])} or {NAMES[-1]}, found {name!r}")
    found: Format = import_module(f"{__name__}.{name.replace('-', '_')}").FORMAT
    return found
