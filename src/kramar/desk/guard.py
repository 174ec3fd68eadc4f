"""Who may ask, before anything is done: the desk's own page, and programs, but no page from elsewhere."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kramar.desk.problems import answer
from kramar.errors import RequestError
from kramar.serving.bodies import Bodies
from kramar.serving.settings import Limits, is_loopback

_LIMITS = Limits(body=65_536, held=16_000_000)
_READS = ("GET", "HEAD", "OPTIONS")


class Guard:
    """An ASGI application behind three questions.

    Where the desk has no keys, whether it is asked for by an address of this machine: a name of somebody else's that
    leads here (DNS rebinding) would make their page the desk's own. Of what changes something, whether a page of
    another origin sends it; and whether it is JSON, which such a page can send only when it is allowed to.
    """

    def __init__(self, app: ASGIApp, host: str, *, is_open: bool) -> None:
        self._app, self._host, self._is_open = app, host, is_open
        self._bodies = Bodies(_LIMITS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            if self._is_open:
                _check_host(request, self._host)
            if request.method in _READS:
                await self._app(scope, receive, send)
                return
            _check_origin(request)
            with self._bodies.allowance() as allowance:
                body = await self._bodies.read(request, allowance)
        except RequestError as error:
            scope.setdefault("state", {}).setdefault("told", {})["problem"] = error.kind
            await answer(error.kind, str(error))(scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)


def _check_host(request: Request, host: str) -> None:
    name = _name(f"//{request.headers.get('host', '')}")
    if not (is_loopback(name) or name == host.strip("[]").lower()):
        raise RequestError(
            "elsewhere",
            f"Host: expected this machine's address, found {name[:80]!r}; open the one that was printed",
        )


def _check_origin(request: Request) -> None:
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    # A browser says the first only where the connection is safe, and cannot be made to lie; behind a proxy, the
    # second may differ from the host that the desk sees.
    if site is not None:
        is_own = site in ("same-origin", "none")
    else:
        is_own = origin is None or origin.partition("://")[2].lower() == request.headers.get("host", "").lower()
    if not is_own:
        raise RequestError("elsewhere", "only the desk's own page may do this, and programs that are no page")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError("media_type", f"expected application/json, found {kind[:80] or 'no content type'!r}")


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _again(body: bytes, receive: Receive) -> Receive:
    """The body that was read, as if it came now."""
    is_told = False

    async def told() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return told
