"""What whoever runs the desk may set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kramar.serving.settings import HOST, PORT, check_reach


@dataclass(frozen=True, slots=True)
class DeskConfig:
    """The options of one desk.

    Attributes:
        database: the path or URL of its queue.
        model: the model file that learns from what is decided.
        learn: the command that makes it learn.
        port: 0 takes a free one.
        keys: a file of API keys (`serving.keys`), whose names are the reviewers; without one, they say who they are.
    """

    database: str
    model: Path
    learn: str
    host: str = HOST
    port: int = PORT
    keys: Path | None = None

    def __post_init__(self) -> None:
        check_reach(self.host, self.keys)
