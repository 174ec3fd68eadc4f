"""A client's connection, which must come to the point, and is not cut off while it speaks."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# What a client has still to say when it was answered is thrown away for so long; cut off at once, it would lose the
# answer as well.
_LINGER = 5.0
# A request that was sent before the service began to end may still be on its way.
_LAST_CALL = 0.2


class Connection(H11Protocol):
    """uvicorn's, with time limits that it has none of: for a request's head, and for what comes after an answer."""

    head_timeout = 10.0

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._limit: asyncio.TimerHandle | None = None
        self._is_ending = self._is_deaf = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._close_after(self.head_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._close_after(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if not self._is_deaf:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """See H11Protocol."""
        self._is_deaf = True
        said = msg.encode("ascii")
        headers = [
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(said))),
            ("connection", "close"),
        ]
        events = (h11.Response(status_code=400, headers=headers), h11.Data(data=said), h11.EndOfMessage())
        self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        self._close_after(_LINGER)

    def handle_events(self) -> None:
        """See H11Protocol."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            # The head is whole: the body has a limit of its own.
            self._close_after(None)
            if self._is_ending:
                self.cycle.keep_alive = False
        elif self._limit is None and self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._close_after(self.head_timeout)

    def on_response_complete(self) -> None:
        """See H11Protocol."""
        if self.conn.their_state is h11.SEND_BODY:
            self._close_after(_LINGER)
        super().on_response_complete()

    def shutdown(self) -> None:
        """See H11Protocol."""
        self._is_ending = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_LAST_CALL, self._end)
        else:
            super().shutdown()

    def _end(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _close_after(self, seconds: float | None) -> None:
        """Close the connection after ``seconds``, in the place of what was said before; None: not at all."""
        if self._limit is not None:
            self._limit.cancel()
        self._limit = None if seconds is None else self.loop.call_later(seconds, self._close)

    def _close(self) -> None:
        self._limit = None
        self.transport.close()
