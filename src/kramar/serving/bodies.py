"""A request's body, within limits: told by its length, and counted as it comes, since lengths can be forged."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from kramar.errors import RequestError
from kramar.serving.settings import Limits


class Allowance:
    """The bytes that one request may take: its body, and the photos that are fetched for it by several threads."""

    def __init__(self, held: Held, most: int) -> None:
        self._held, self._most = held, most
        self._lock = threading.Lock()
        self._taken = 0
        self._is_over = False

    def take(self, size: int) -> None:
        """Count ``size`` bytes more. Raises RequestError where they are too many, of this request or of all."""
        with self._lock:
            if self._is_over:
                raise RequestError("deadline", "nobody waits for it any more")
            self._held.take(size)
            self._taken += size
            self.check(self._taken)

    def check(self, size: int) -> None:
        """Raise RequestError where ``size`` bytes are too many for one request."""
        if size > self._most:
            raise RequestError(
                "too_large", f"the body is larger than {self._most:,} bytes: send smaller photos, or fewer at once"
            )

    def close(self) -> None:
        """Give all of it back; a thread that still fetches gets nothing more."""
        with self._lock:
            self._is_over = True
            self._held.give_back(self._taken)


class Held:
    """The bytes that are held of all requests."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self.now = 0

    def take(self, size: int) -> None:
        """Count ``size`` bytes more. Raises RequestError where all requests hold too many."""
        with self._lock:
            if self.now + size > self._most:
                raise RequestError("queue_full", "too many large requests at the same time", retry_after=1)
            self.now += size

    def give_back(self, size: int) -> None:
        """Count ``size`` bytes less."""
        with self._lock:
            self.now -= size


class Bodies:
    """Reads bodies."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held = Held(limits.held)

    @contextmanager
    def allowance(self) -> Iterator[Allowance]:
        """One request's, as long as the block lasts."""
        with contextlib.closing(Allowance(self.held, self._limits.body)) as own:
            yield own

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
