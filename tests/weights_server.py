"""A server on this machine that answers as Hugging Face does, and as the host of torchvision's files."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Shelf:
    """What is served, and what was asked for.

    ``repositories`` are the weights files of Hugging Face's repositories; ``files`` are files by name.
    ``promises`` are SHA-256 that the server gives in the place of the true ones; files in ``cut`` break off halfway;
    ``moved`` says where a file went.
    """

    address: str = ""
    repositories: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    promises: dict[str, str] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    moved: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    shelf: Shelf

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""

    def _answer(self, *, body: bool) -> None:
        self.shelf.asked.append(f"{self.command} {self.path}")
        name = self.path.strip("/")
        repository, _, rest = name.partition("/resolve/")
        if rest.endswith("/model.safetensors") and repository in self.shelf.repositories:
            self._resolve(repository)
        elif name.startswith("large/") and name.removeprefix("large/") in self.shelf.repositories:
            self._send(self.shelf.repositories[name.removeprefix("large/")], name, body)
        elif name in self.shelf.moved:
            self.send_response(302)
            self.send_header("Location", self.shelf.moved[name])
            self.end_headers()
        elif name in self.shelf.files:
            self._send(self.shelf.files[name], name, body)
        else:
            self.send_error(404)

    def _resolve(self, repository: str) -> None:
        """Where the large file is, and what it is: as Hugging Face answers for files that git does not hold."""
        content = self.shelf.repositories[repository]
        sha256 = self.shelf.promises.get(repository, hashlib.sha256(content).hexdigest())
        self.send_response(302)
        # Another host, as there: what is asked of the first is no longer asked of the second.
        elsewhere = self.shelf.address.replace("127.0.0.1", "localhost")
        self.send_header("Location", f"{elsewhere}/large/{repository}")
        self.send_header("ETag", '"' + hashlib.sha1(content).hexdigest() + '"')
        self.send_header("X-Linked-ETag", f'"{sha256}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, name: str, body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content[: len(content) // 2] if name in self.shelf.cut else content)


@contextmanager
def serve() -> Iterator[Shelf]:
    """A server with an empty shelf, as long as the block lasts."""
    shelf = Shelf()
    handler = type("Handler", (_Handler,), {"shelf": shelf})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    shelf.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield shelf
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
