"""How long work tells of itself without knowing who listens: a terminal, a log, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Listens to long work."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Advance]:
        """Open a bar of ``total`` photos; the block calls what it is given with the photos done since."""

    def say(self, message: str) -> None:
        """Tell one thing that the user should know."""


class Silent:
    """Nobody listens."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:  # noqa: ARG002
        """Open a bar that nobody sees."""
        yield lambda _done: None

    def say(self, message: str) -> None:
        """Say it to nobody."""
