"""What is told while work goes on, and JSON that any terminal takes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kramar.progress import Advance, Progress


class _Terminal:
    """Bars and remarks on standard error."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:
        """See Progress."""
        task = self._bars.add_task(name, total=total, rate="")

        def advance(done: int) -> None:
            self._bars.advance(task, done)
            current = self._bars.tasks[self._bars.task_ids.index(task)]
            speed = current.finished_speed or current.speed
            self._bars.update(task, rate=f"{speed:,.0f}/s" if speed else "")

        yield advance
        self._bars.remove_task(task)

    def say(self, message: str) -> None:
        """See Progress."""
        from rich.text import Text

        style = "yellow" if message.startswith("Warning") else "dim"
        self._bars.console.print(Text(message, style=style), soft_wrap=True)


@contextmanager
def progress_bars(*, bars: bool = True) -> Iterator[Progress]:
    """Who listens to a command: bars and remarks on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    shown = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # what is printed there is the result, and no part of the bars' stream
        disable=not (bars and console.is_terminal),  # a file would get an empty line a bar
    )
    with shown:
        yield _Terminal(shown)


def printable(document: str) -> str:
    """``document``, with escapes where standard output is not UTF-8; Python's own (``\\xe9``) would be no JSON."""
    try:
        document.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], document)
    return document
