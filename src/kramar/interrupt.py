"""Ctrl-C once ends what is being done well; twice ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether the user has asked for an end."""

    def __init__(self) -> None:
        self.wanted = False

    def __call__(self) -> bool:
        """Whether to end."""
        return self.wanted


@contextmanager
def gently(told: Callable[[], None]) -> Iterator[Interrupt]:
    """In the block, the first Ctrl-C is noted, and ``told`` is called; the second raises KeyboardInterrupt.

    Signals come to the main thread alone: in another one, nothing changes.
    """
    interrupt = Interrupt()
    before = signal.getsignal(signal.SIGINT)
    # Who ignores it (nohup, a CI runner) or handles it some other way knows why.
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield interrupt
        return

    def noted(_number: int, _frame: FrameType | None) -> None:
        if interrupt.wanted:
            raise KeyboardInterrupt
        interrupt.wanted = True
        told()

    signal.signal(signal.SIGINT, noted)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
