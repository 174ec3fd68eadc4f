"""The service at its address, on one process or several, until it is told to end."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from kramar.errors import InputError
from kramar.serving import logs
from kramar.serving.app import create_app
from kramar.serving.connection import Connection
from kramar.serving.metrics import SHARED_FOLDER
from kramar.serving.settings import ServeConfig

# A body that has begun, and its answer: what is accepted is answered, but nobody can keep a service from ending.
_MARGIN = 5.0
# Of glibc's malloc.h; Pillow's blocks are of 16 MB, and ordinary photos take less than half of one.
_M_MMAP_THRESHOLD, _LARGE_BLOCK = -3, 8_000_000
# Connections that the system keeps until a worker takes them.
_WAITING = 2048
# Seconds in which a worker says that it lives: uvicorn's own five kill one that starts on a busy machine.
_SILENT = 60


def run(config: ServeConfig, told: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C, and then until all that was accepted is answered.

    ``told`` gets the address when requests are taken. Raises InputError where it cannot be had, and KeyboardInterrupt
    where a second Ctrl-C ends it at once.
    """
    # Also where the workers open their own: what is wrong is told once, and before anyone can ask.
    app = settled(config)
    if config.review is not None:
        from kramar.serving import inbox

        inbox.check(config.review)
    if config.workers == 1:
        run_alone(server_config(config, app), config.host, config.port, told)
        return
    with _reached(config.host, config.port) as (listener, address), _shared_figures():
        del app
        workers = server_config(config, partial(settled, config))
        told(address)
        Multiprocess(workers, [listener]).run()


def run_alone(settings: uvicorn.Config, host: str, port: int, told: Callable[[str], None]) -> None:
    """The same in this process, of any application."""
    with _reached(host, port) as (listener, address):
        server = uvicorn.Server(settings)
        told(address)
        server.run([listener])
        if server.force_exit:
            raise KeyboardInterrupt


@contextmanager
def _reached(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """A socket at the address, and how browsers write that, until what is served there has ended well."""
    with listening(host, port) as listener, _both_end_well():
        yield listener, f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def settled(config: ServeConfig) -> FastAPI:
    """The service, out of the garbage collector's sight.

    To look through all that it was made of takes 30 ms, in which nobody is answered.
    """
    _give_back_large_blocks()
    app = create_app(config)
    gc.collect()
    gc.freeze()
    return app


def _give_back_large_blocks() -> None:
    """Make glibc return the memory of large photos at once.

    By itself it learns from the first one to keep what is as large. Under photos of 50 million pixels, a service then
    takes up to 2.3 GB instead of 1.4 (``benchmarks.serve``).
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def server_config(config: ServeConfig, app: FastAPI | Callable[[], FastAPI]) -> uvicorn.Config:
    """How uvicorn runs the service, or each worker the one that it makes."""
    limits = config.limits
    return uvicorn_config(app, round(limits.body_timeout + limits.deadline + _MARGIN), config.workers)


def uvicorn_config(app: FastAPI | Callable[[], FastAPI], patience: int, workers: int = 1) -> uvicorn.Config:
    """How uvicorn runs an application, which has ``patience`` seconds to end."""
    return uvicorn.Config(
        app,
        factory=not isinstance(app, FastAPI),
        http=Connection,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=logs.CONFIG,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        workers=workers,
        timeout_graceful_shutdown=patience,
        # A worker that says nothing for so long is killed, with the requests that it took: not one that is only busy.
        timeout_worker_healthcheck=_SILENT,
    )


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket at the address, which takes connections from now on. Raises InputError."""
    try:
        # With its protocol named: asyncio sends small packets at once only then, and an answer is two of them, of
        # which the second would wait 40 ms for the client's word on the first.
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, socket.IPPROTO_TCP)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"--host: {host} is no address of this machine ({error.strerror or error})") from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(place)
        except (OSError, OverflowError) as error:
            said = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"--port: {host}:{port} cannot be had ({said}); choose another, or 0") from None
        listener.listen(_WAITING)
        yield listener


@contextmanager
def _both_end_well() -> Iterator[None]:
    """SIGTERM and Ctrl-C end a service well: uvicorn raises them once more when it is done, and here nobody minds."""

    def done(_number: int, _frame: FrameType | None) -> None:
        """All that was accepted is answered."""

    if threading.current_thread() is not threading.main_thread():
        yield  # signals come to the main thread alone
        return
    before = {number: signal.signal(number, done) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shared_figures() -> Iterator[None]:
    """A folder in which the workers leave their figures for each other."""
    before = os.environ.get(SHARED_FOLDER)
    with tempfile.TemporaryDirectory(prefix="kramar-metrics-") as folder:
        os.environ[SHARED_FOLDER] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[SHARED_FOLDER]
            else:
                os.environ[SHARED_FOLDER] = before
