"""Photos by their URLs, for a service that must not be made to ask its own network (server-side request forgery).

A URL has to fit one of the operator's patterns. Its host is resolved once; every address that it has must be public,
and the connection goes to the first of them, so that a name that changes its mind in between gains nothing. Where it
leads on to another URL, all of that is done again. What comes is a photo when it can be decoded; no header is believed.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

from kramar.errors import PhotoError
from kramar.serving.addresses import is_public
from kramar.serving.patterns import Pattern, Place, place
from kramar.version import __version__

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 3
_CHUNK = 64 * 1024

Resolve = Callable[[str, int], Sequence[str]]
Connect = Callable[[str, int, float], socket.socket]


def resolve(host: str, port: int) -> list[str]:
    """All addresses of ``host``, by the system's resolver."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def connect(address: str, port: int, seconds: float) -> socket.socket:
    """A connection to ``address``, which is no name."""
    return socket.create_connection((address, port), seconds)


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was found before; the host's name is only said."""

    def __init__(self, asked: Place, address: str, seconds: float, open_socket: Connect) -> None:
        host = f"[{asked.host}]" if ":" in asked.host else asked.host
        super().__init__(host, asked.port, timeout=seconds)
        self._asked, self._address, self._open_socket, self._seconds = asked, address, open_socket, seconds
        self._opened: socket.socket | None = None

    def connect(self) -> None:
        """See HTTPConnection."""
        self.sock = self._opened = self._open_socket(self._address, self._asked.port, self._seconds)
        if self._asked.scheme == "https":
            secure = ssl.create_default_context().wrap_socket(
                self.sock, server_hostname=self._asked.host, do_handshake_on_connect=False
            )
            self.sock = self._opened = secure
            secure.do_handshake()

    def cut(self) -> None:
        """End it, whatever another thread reads from it: also where the answer alone still has the socket."""
        if self._opened is not None:
            with contextlib.suppress(OSError):  # it has ended by itself
                socket.socket.shutdown(self._opened, socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches photos.

    Attributes:
        patterns: the URLs that may be asked.
        seconds: for all of it, redirects included.
        resolve, connect: the system's, or a stand-in's.
    """

    patterns: tuple[Pattern, ...]
    seconds: float
    resolve: Resolve = resolve
    connect: Connect = connect

    def fetch(self, url: str, take: Callable[[int], None]) -> bytes:
        """What is at ``url``; ``take`` is told how many bytes come, and may raise. Raises PhotoError.

        Its kind is ``refused_url``, or ``missing`` where nothing came.
        """
        until = time.monotonic() + self.seconds
        for _ in range(_MOST_REDIRECTS + 1):
            asked = self._allowed(url)
            found = self._ask(asked, self._address(asked), until, take)
            if isinstance(found, bytes):
                return found
            url = _onward(url, found)
        raise PhotoError("missing", f"more than {_MOST_REDIRECTS} redirects")

    def _allowed(self, url: str) -> Place:
        asked = place(url)
        if asked is None:
            raise PhotoError("refused_url", "not a plain http or https URL")
        if not any(pattern.fits(asked) for pattern in self.patterns):
            raise PhotoError("refused_url", "not among the URLs that this service may fetch (--allow-urls)")
        return asked

    def _address(self, asked: Place) -> str:
        try:
            found = self.resolve(asked.host, asked.port)
        except (OSError, UnicodeError):
            found = ()
        if not found:
            raise PhotoError("missing", "the URL's host has no address")
        if not all(map(is_public, found)):
            raise PhotoError("refused_url", "the URL's host has an address that is not public")
        return found[0]

    def _ask(self, asked: Place, address: str, until: float, take: Callable[[int], None]) -> bytes | str:
        """The photo, or the URL that it is at."""
        connection = _Connection(asked, address, max(0.001, until - time.monotonic()), self.connect)
        # Each read has a time limit of its own; a server that sends a byte now and then needs one for all of them.
        cut = threading.Timer(max(0.0, until - time.monotonic()), connection.cut)
        cut.daemon = True
        cut.start()
        try:
            headers = {"User-Agent": f"kramar/{__version__}", "Accept": "image/*", "Accept-Encoding": "identity"}
            connection.request("GET", asked.target, headers=headers)
            with contextlib.closing(connection.getresponse()) as answer:
                if answer.status in _REDIRECTS and (onward := answer.getheader("Location")):
                    return onward
                if answer.status != http.client.OK:
                    raise PhotoError("missing", f"the URL's server answered with status {answer.status}")
                return self._read(answer, until, take)
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = time.monotonic() >= until
            raise PhotoError(
                "missing", f"not fetched within {self.seconds:g} seconds" if late else f"not fetched: {_said(error)}"
            ) from None
        finally:
            cut.cancel()
            connection.close()

    def _read(self, answer: http.client.HTTPResponse, until: float, take: Callable[[int], None]) -> bytes:
        chunks = []
        while chunk := answer.read1(_CHUNK):
            take(len(chunk))
            chunks.append(chunk)
        if time.monotonic() >= until:
            raise PhotoError("missing", f"not fetched within {self.seconds:g} seconds")
        if answer.length:
            raise PhotoError("missing", "the URL's server broke off")
        return b"".join(chunks)


def _onward(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise PhotoError("refused_url", "redirected to what is no URL") from None


def _said(error: Exception) -> str:
    """Without addresses and paths of this machine."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else type(error).__name__
