"""Around every request: an id, a line in the log, figures for Prometheus where there are any."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kramar.serving.metrics import Metrics

log = logging.getLogger(__name__)


class Observed:
    """An ASGI application, watched.

    What it puts into ``scope["state"]["told"]`` is logged with the request, as an error where it has an ``error``.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics | None, paths: frozenset[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, request_id, status = time.perf_counter(), secrets.token_hex(8), 500
        told: dict[str, Any] = scope.setdefault("state", {}).setdefault("told", {})

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = list(message.get("headers", ()))
                if all(name != b"cache-control" for name, _ in own):
                    own.append((b"cache-control", b"no-store"))
                message["headers"] = [
                    *own,
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            seconds = time.perf_counter() - began
            # A client can ask for any path and by any method: each would be one more series of figures.
            path = scope["path"] if scope["path"] in self._paths else "other"
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "OPTIONS", "POST") else "other"
            if self._metrics is not None:
                self._metrics.requests.labels(path, method, str(status)).inc()
                self._metrics.seconds.labels(path).observe(seconds)
            client = scope.get("client")
            log.log(
                logging.ERROR if "error" in told else logging.INFO,
                "request",
                extra={
                    "request": request_id,
                    "method": method,
                    "path": path,
                    "status": status,
                    "milliseconds": round(1000 * seconds, 1),
                    "client": client[0] if client else "",
                    **told,
                },
            )
