"""The page for people at ``/``: files of the package, which ask the service as any other client does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, Request, Response

SITE = Path(__file__).with_name("site")
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing from elsewhere, nothing inline, in nobody's frame; photos are shown as blobs. No HTML from strings either.
_POLICY = "; ".join((
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
))  # fmt: skip
_HEADERS = {
    # It is asked each time whether a file is still the same: a few hundred bytes, and never yesterday's script.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the page, as it is sent."""

    content: bytes
    media_type: str
    tag: str

    @staticmethod
    def read(path: Path) -> _File:
        """A file of the package; raises KeyError for one of a kind that the page has none of."""
        content = path.read_bytes()
        return _File(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')

    async def answer(self, request: Request) -> Response:
        """The file, or that the client has it already."""
        headers = _HEADERS | {"ETag": self.tag}
        known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
        if self.tag in known or known == ["*"]:
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def add_page(app: FastAPI, files: Iterable[Path]) -> None:
    """Answer the addresses of a page's files. They need no key: the page asks its user for one."""
    for path in sorted(files):
        file = _File.read(path)
        address = "/" if path.name == "index.html" else f"/page/{path.name}"
        app.add_api_route(address, file.answer, methods=["GET", "HEAD"], include_in_schema=False)
