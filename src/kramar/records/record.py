"""What every record is, and a figure with its interval."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


def writable(text: str) -> str:
    r"""``text`` as any file can hold it: what a file's name has beside UTF-8 is escaped (``caf\udce9.jpg``)."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def percent(share: float) -> str:
    """``0.98`` as ``98%``, ``0.995`` as ``99.5%``."""
    return f"{100 * share:.6g}%"


class Record(BaseModel):
    """A frozen document; unknown keys of a newer kramar are kept out of the way, not refused.

    Its text is `writable`, so that it is the same in Python as in every file that it is written to.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _make_writable(cls, found: Any) -> Any:
        return _with_writable_text(found)


def _with_writable_text(found: Any) -> Any:
    if isinstance(found, str):
        return writable(found)
    if isinstance(found, dict):
        return {_with_writable_text(key): _with_writable_text(value) for key, value in found.items()}
    return [_with_writable_text(value) for value in found] if isinstance(found, list) else found


class Estimate(Record):
    """A figure with its 95% interval.

    ``n`` counts the photos behind it; ``low`` and ``high`` bound it in the figure's own unit.
    """

    value: float
    low: float
    high: float
    n: int

    def percent(self) -> str:
        """``74.2% (95% interval 72.4 to 75.9, n = 2,485)``."""
        return f"{self.value:.1%} (95% interval {100 * self.low:.1f} to {100 * self.high:.1f}, n = {self.n:,})"
