"""A request's body, within limits: told by its length, and counted as it comes, since lengths can be forged."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from kramar.errors import RequestError
from kramar.serving.settings import Limits


class Allowance:
    """The bytes that one request may take: its body, and the photos that are fetched for it."""

    def __init__(self, bodies: Bodies, most: int) -> None:
        self._bodies, self._most = bodies, most
        self.taken = 0

    def take(self, size: int) -> None:
        """Count ``size`` bytes more. Raises RequestError where they are too many, of this request or of all."""
        self._bodies.hold(size)
        self.taken += size
        self.check(self.taken)

    def check(self, size: int) -> None:
        """Raise RequestError where ``size`` bytes are too many for one request."""
        if size > self._most:
            raise RequestError(
                "too_large", f"the body is larger than {self._most:,} bytes: send smaller photos, or fewer at once"
            )


class Bodies:
    """Reads bodies, and counts how many bytes are held of all requests; photos are fetched by several threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self.held = 0

    @contextmanager
    def allowance(self) -> Iterator[Allowance]:
        """One request's, as long as the block lasts."""
        own = Allowance(self, self._limits.body)
        try:
            yield own
        finally:
            with self._lock:
                self.held -= own.taken

    def hold(self, size: int) -> None:
        """Count ``size`` bytes more. Raises RequestError where all requests hold too many."""
        with self._lock:
            if self.held + size > self._limits.held:
                raise RequestError("queue_full", "too many large requests at the same time", retry_after=1)
            self.held += size

    async def read(self, request: Request, allowance: Allowance) -> bytes:
        """The whole body. Raises RequestError."""
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise RequestError("media_type", "a compressed body is not read: send it without Content-Encoding")
        length = request.headers.get("content-length", "")
        if length.isascii() and length.isdigit():
            allowance.check(int(length[:20]))
        chunks = []
        try:
            async with asyncio.timeout(self._limits.body_timeout):
                async for chunk in request.stream():
                    allowance.take(len(chunk))
                    chunks.append(chunk)
        except TimeoutError:
            raise RequestError(
                "slow_body", f"the body was not whole after {self._limits.body_timeout:g} seconds"
            ) from None
        return b"".join(chunks)
