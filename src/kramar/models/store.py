"""The cache of what a frozen backbone saw, and how fast that was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import ValidationError

from kramar.config import cores
from kramar.data.store import RowStore
from kramar.files import write_text
from kramar.records import Record


class FeatureStore(RowStore[np.float32]):
    """The embeddings of one backbone, weights, pixel rule, runtime and precision, and how fast they came."""

    def __init__(self, folder: Path, width: int) -> None:
        """The store in ``folder`` for embeddings, float32 ``[width]``. Raises OutputError."""
        super().__init__(folder, "embeddings.f32", (width,), np.float32)
        self._rates_path = folder / "rates.json"

    def remember(self, rates: Rates) -> None:
        """Keep what a pass measured beside the embeddings."""
        write_text(self._rates_path, rates.model_dump_json())

    def rates(self) -> Rates | None:
        """What the last pass that measured its rates found; None where none did."""
        try:
            return Rates.model_validate_json(self._rates_path.read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return None


class Rates(Record):
    """Photos a second, measured in one run: the whole pass, the bare model, and decoding on one core."""

    features: float
    bare_model: float
    decode: float

    @property
    def bound(self) -> float:
        """The most that a pass can reach: 1 / (model time + decode time / cores)."""
        return 1 / (1 / self.bare_model + 1 / self.decode / cores())

    def figures(self) -> dict[str, float]:
        """All rates by name, the bound among them."""
        return {**self.model_dump(), "bound": self.bound}
