"""What whoever runs the service may set, each default written once."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from kramar.config import cores, parse_duration, parse_size
from kramar.errors import InputError

HOST, PORT = "127.0.0.1", 8000
DEFAULT_MAX_BODY = "20MB"
# The photo of a 50-megapixel phone fits; one that is all read takes 150 MB while it is decoded.
DEFAULT_MAX_PIXELS = 50_000_000
_LEAST_HELD = 256_000_000
DEFAULT_MAX_PHOTOS = 32
DEFAULT_MAX_WAITING = 64
# On one core, two photos at once take a little less time each than one, and four take more (benchmarks/serve.py).
DEFAULT_MAX_BATCH = 2
DEFAULT_RATE = 200
DEFAULT_DEADLINE = "10s"
DEFAULT_BODY_TIMEOUT = "30s"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, one client and all of them together may take.

    Attributes:
        body: bytes of a request: its body, and the photos that are fetched for it.
        held: bytes of all requests that are held at the same time; by default room for two of the largest, and more.
        pixels: of a photo, as its header gives them.
        photos: in one request.
        waiting: photos that are accepted and not yet answered, of all requests.
        rate: requests a second of one API key; there may be twice as many at once.
        deadline: seconds from the end of a request's body to its answer.
        body_timeout: seconds from the end of a request's head to that of its body.
    """

    body: int = field(default_factory=lambda: int(parse_size(DEFAULT_MAX_BODY, "--max-body")))
    held: int = 0
    pixels: int = DEFAULT_MAX_PIXELS
    photos: int = DEFAULT_MAX_PHOTOS
    waiting: int = DEFAULT_MAX_WAITING
    rate: float = DEFAULT_RATE
    deadline: float = field(default_factory=lambda: parse_duration(DEFAULT_DEADLINE))
    body_timeout: float = field(default_factory=lambda: parse_duration(DEFAULT_BODY_TIMEOUT))

    def __post_init__(self) -> None:
        if not self.held:
            object.__setattr__(self, "held", max(_LEAST_HELD, 2 * self.body))
        for option, seconds in (("--deadline", self.deadline), ("--body-timeout", self.body_timeout)):
            if not 0 < seconds < math.inf:
                raise InputError(f"{option}: expected more than no time, found {seconds:g}s; try {option} 10s")
        if self.waiting < self.photos:
            raise InputError(
                f"--max-waiting: expected room for the {self.photos} photos of one request, found {self.waiting}; "
                "raise it, or lower --max-photos"
            )


@dataclass(frozen=True, slots=True)
class ReviewConfig:
    """What goes into the review queue, and for how long.

    Attributes:
        database: a file, or a URL of SQLite or PostgreSQL.
        keep_days: for how many days the bytes of its photos are kept, which are nowhere else.
        spot_check: the share of the ``auto`` photos that is put into it as well.
        held: bytes of photos that wait to be written, in each worker.
        retry: seconds after which is tried again what the database did not take.
        last: seconds that writing what is left may take when the service ends.
        forget: seconds between two looks for photos whose days are over.
    """

    database: str
    keep_days: int
    spot_check: float = 0.0
    held: int = 64_000_000
    retry: float = 5.0
    last: float = 10.0
    forget: float = 3600.0


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """The options of one service.

    Attributes:
        port: 0 takes a free one.
        workers: processes that share the port, and the cores.
        keys: a file of API keys (`serving.keys`); without one, anyone who reaches the address is answered.
        cors: the origins whose pages may ask, such as ``https://shop.example``.
        allow_urls: patterns of the URLs that are fetched (`serving.patterns`); none by default.
        max_batch: photos that the model sees at once, at most.
        poll: seconds between two looks at the model file.
        review: the review queue that takes what a person has to decide; by default there is none.
    """

    model: Path
    host: str = HOST
    port: int = PORT
    workers: int = 1
    keys: Path | None = None
    cors: tuple[str, ...] = ()
    allow_urls: tuple[str, ...] = ()
    max_batch: int = DEFAULT_MAX_BATCH
    poll: float = 1.0
    review: ReviewConfig | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check_reach(self.host, self.keys)
        if self.keys is None and self.limits.rate != DEFAULT_RATE:
            raise InputError(
                "--rate: requests are counted by API key, and there is no --api-key-file; give one, or leave it away"
            )
        for origin in self.cors:
            if not re.fullmatch(r"https?://[^/?#\s@]+", origin):
                raise InputError(
                    f"--cors: expected an origin such as https://shop.example, without a path, found {origin!r}"
                )

    @property
    def threads(self) -> int:
        """Of each worker: busy threads of two processes on one core wait for each other."""
        return max(1, cores() // self.workers)


def check_reach(host: str, keys: Path | None) -> None:
    """Raise InputError where other machines reach ``host`` and no ``keys`` keep them out."""
    if keys is None and not is_loopback(host):
        raise InputError(
            f"--host: {host} is reached from other machines, so --api-key-file is needed; "
            f"give one (docs/serve.md says how to make it), or listen on {HOST} alone"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
