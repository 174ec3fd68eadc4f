"""Services as processes of this machine: ours, and what else an engineer would write around the same model file."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.harness import KRAMAR, PROJECT

# LitServe loads its workers one after the other, each with a model of its own.
_START = 60.0


@dataclass(frozen=True)
class Served:
    """A service that takes requests, its process, and where its log goes."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def memory(self) -> float:
        """Resident MB of the process and its workers."""
        own = psutil.Process(self.process.pid)
        return float(sum(one.memory_info().rss for one in (own, *own.children(recursive=True))) / 1e6)


Way = Callable[[], AbstractContextManager[Served]]


@contextlib.contextmanager
def serving(command: Sequence[str | Path], port: int, log: Path) -> Iterator[Served]:
    """The service that ``command`` starts, as long as the block lasts."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            list(map(str, command)), cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=file, start_new_session=True
        )
        until = time.monotonic() + _START
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert process.poll() is None, log.read_text(encoding="utf-8")
                assert time.monotonic() < until, log.read_text(encoding="utf-8")
                time.sleep(0.05)
            yield Served(port, process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_START)
            # LitServe's workers outlive a SIGTERM to their parent.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def ours(model: Path, folder: Path, options: Sequence[str] = ()) -> AbstractContextManager[Served]:
    """``kramar serve`` with ``options``."""
    port = free_port()
    command: list[str | Path] = [KRAMAR, "serve", model, "--port", str(port), *options]
    return serving(command, port, folder / f"ours-{port}.log")


def handler(name: str, model: Path, folder: Path, options: Sequence[str]) -> AbstractContextManager[Served]:
    """``benchmarks.NAME``, which takes the model, the port and ``options``."""
    port = free_port()
    command: list[str | Path] = [sys.executable, "-m", f"benchmarks.{name}", model, str(port), *options]
    return serving(command, port, folder / f"{name}-{port}.log")


def has_litserve() -> bool:
    """Whether LitServe is installed; it is a tool of this benchmark alone, and no dependency of the project."""
    return importlib.util.find_spec("litserve") is not None
