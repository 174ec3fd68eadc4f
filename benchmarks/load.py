"""Clients of an HTTP service, in a process of their own: ``python -m benchmarks.load '{"port": 8000, ...}'``.

Closed: each client asks again as soon as it is answered. Open: requests start at a fixed rate, whatever becomes of
those before, and a request's time counts from when it should have started (Tene, "How NOT to measure latency").
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import PROJECT

# Connections of an open load: more than a queue holds, so that the service refuses and not the client.
_MOST = 256
# Of so many requests one has several photos, where a load asks for that.
_FORMS, _BOUNDARY = 10, "----a-form-of-photos"
GONE = 0  # the status of a request whose connection ended without an answer


@dataclass(frozen=True)
class Load:
    """What clients do.

    ``requests`` of all of them; ``clients`` at the same time, or ``rate`` requests a second where that is given. Each
    tenth request has ``each`` photos where that is more than one, in a form.
    """

    port: int
    photos: str  # a folder
    requests: int
    clients: int = 16
    rate: float = 0.0
    each: int = 1


@dataclass(frozen=True)
class Answered:
    """What became of the requests: status, seconds, labels (a line a photo) and model of each; how long all took."""

    statuses: list[int]
    seconds: list[float]
    labels: list[str]
    models: list[str]
    wall: float

    @property
    def good(self) -> int:
        """Requests that were answered with 200."""
        return self.statuses.count(200)

    def percentile(self, share: float) -> float:
        """Milliseconds in which ``share`` percent of those were answered."""
        good = [one for one, status in zip(self.seconds, self.statuses, strict=True) if status == 200]
        return float(1000 * np.percentile(good, share)) if good else float("nan")


def start(load: Load) -> subprocess.Popen[str]:
    """Start the clients of ``load``."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load", json.dumps(asdict(load))],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


def finish(clients: subprocess.Popen[str]) -> Answered:
    """Wait for clients to be done."""
    out, _ = clients.communicate()
    return Answered(**json.loads(out))


def put(load: Load) -> Answered:
    """Both."""
    return finish(start(load))


class _Clients:
    """Connections that are used again, and what was answered on them."""

    def __init__(self, load: Load) -> None:
        self._load = load
        paths = sorted(Path(load.photos).rglob("*.jpg"))
        self._bodies = [path.read_bytes() for path in paths]
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.statuses, self.seconds = [GONE] * load.requests, [0.0] * load.requests
        self.labels, self.models = [""] * load.requests, [""] * load.requests

    async def ask(self, number: int, due: float) -> None:
        """The request ``number``, which was to start at ``due``."""
        body, kind = self._bodies[number % len(self._bodies)], "image/jpeg"
        if self._load.each > 1 and number % _FORMS == 0:
            body, kind = self._form(number), f"multipart/form-data; boundary={_BOUNDARY}"
        head = (
            f"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        try:
            reader, writer = self._used() or await asyncio.open_connection("127.0.0.1", self._load.port)
            writer.write(head.encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            named = dict(line.lower().split(": ", 1) for line in answer.split("\r\n")[1:-2])
            said = await reader.readexactly(int(named.get("content-length", 0)))
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self.seconds[number] = time.perf_counter() - due
        self.statuses[number] = int(answer[9:12])
        if self.statuses[number] == 200:
            self.labels[number] = "\n".join(row["label"] for row in json.loads(said)["predictions"])
            self.models[number] = named.get("x-kramar-model", "")
        if named.get("connection") == "close":
            writer.close()
        else:
            self._free.append((reader, writer))

    def _used(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection that the service did not close while nobody used it."""
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    def _form(self, number: int) -> bytes:
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="photos"; filename="photo.jpg"\r\n\r\n'.encode()
        bodies = (self._bodies[(number + more) % len(self._bodies)] for more in range(self._load.each))
        return b"".join(head + body + b"\r\n" for body in bodies) + f"--{_BOUNDARY}--\r\n".encode()

    async def closed(self) -> None:
        """Each client asks again as soon as it is answered."""
        left = iter(range(self._load.requests))

        async def client() -> None:
            for number in left:
                await self.ask(number, time.perf_counter())
                if self.statuses[number] == GONE:
                    await asyncio.sleep(0.01)

        await asyncio.gather(*(client() for _ in range(self._load.clients)))

    async def open(self) -> None:
        """Requests start at a fixed rate."""
        began, room = time.perf_counter(), asyncio.Semaphore(_MOST)

        async def one(number: int, due: float) -> None:
            async with room:
                await self.ask(number, due)

        tasks = []
        for number in range(self._load.requests):
            due = began + number / self._load.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(number, due)))
        await asyncio.gather(*tasks)


def main(load: Load) -> Answered:
    """Ask, and say what was answered."""
    clients = _Clients(load)
    began = time.perf_counter()
    asyncio.run(clients.open() if load.rate else clients.closed())
    wall = time.perf_counter() - began
    return Answered(clients.statuses, clients.seconds, clients.labels, clients.models, wall)


if __name__ == "__main__":
    print(json.dumps(asdict(main(Load(**json.loads(sys.argv[1]))))))
