"""Which URLs may be fetched: ``https://cdn.shop.example/photos/*``, ``https://*.shop.example``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, urlsplit

from kramar.errors import InputError

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.?|\[[0-9a-f:.]+\]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads: ``host`` is lower case, ASCII, and without brackets; ``target`` is path and query."""

    scheme: str
    host: str
    port: int
    path: str
    target: str


def place(url: str) -> Place | None:
    """Where ``url`` leads; None where it is no plain http(s) URL, or two readers could read it differently."""
    if not url.isascii() or re.search(r"[\x00-\x20\x7f\\^`{|}<>\"]", url) or len(url) > 4096:
        return None
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        return None
    scheme, host = found.scheme, _host(found)
    if scheme not in _PORTS or host is None or "@" in found.netloc or found.netloc.endswith(":"):
        return None
    path = found.path or "/"
    return Place(
        scheme, host, _PORTS[scheme] if port is None else port, path, f"{path}?{found.query}" if found.query else path
    )


def _host(found: SplitResult) -> str | None:
    host = (found.hostname or "").lower()
    written = f"[{host}]" if ":" in host else host
    return host.rstrip(".") if _HOST.fullmatch(written) else None


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern of URLs: its scheme and port are theirs, ``*.`` before a host stands for all names below it.

    In the path ``*`` stands for anything; without a path, all paths fit.
    """

    scheme: str
    host: str
    port: int
    path: str

    @staticmethod
    def parse(text: str) -> Pattern:
        """Raises InputError where ``text`` is none."""
        below = re.fullmatch(r"(https?://)\*\.([^/]+)(/.*)?", text)
        found = place(f"{below[1]}{below[2]}{below[3] or ''}" if below else text)
        if found is None or "?" in text or "*" in found.host or (below and "." not in below[2]):
            raise InputError(
                f"--allow-urls: expected a pattern such as https://cdn.shop.example/photos/*, found {text!r}"
            )
        path = "*" if urlsplit(text).path in ("", "/") else found.path
        return Pattern(found.scheme, f"*.{found.host}" if below else found.host, found.port, path)

    def fits(self, found: Place) -> bool:
        """Whether the URL that leads to ``found`` is one of them."""
        fits = found.host.endswith(self.host[1:]) if self.host.startswith("*.") else found.host == self.host
        # A path that goes up may end above the pattern's own.
        ups = "/../" in f"{found.path}/" or "%2e" in found.path.lower()
        return (
            fits
            and (found.scheme, found.port) == (self.scheme, self.port)
            and not ups
            and (fnmatchcase(found.path, self.path))
        )
