"""Photos to predictions: decoded on several threads while the model sees others.

Where there are several, each core has photos of its own, in batches of what is ready: threads that compute one batch
together wait for each other at every layer. A photo that is alone is computed by all cores together, which is sooner.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from kramar.data.pixels import Pixels, header
from kramar.errors import PhotoError, RequestError
from kramar.records import Prediction
from kramar.runtime.model import Answer, Model
from kramar.serving.documents import row
from kramar.serving.metrics import Metrics
from kramar.serving.settings import ServeConfig
from kramar.serving.submitted import Submitted

# Of the time that a photo takes, what the newest batch says of it.
_NEWEST = 0.1
# What decoding takes a pixel at most: a JPEG is read at a reduced size, but a progressive one is kept whole before; a
# transparent PNG is composited on white (20 bytes measured, 26 where it is 16-bit grey). What takes more than _HEAVY
# bytes is decoded one at a time, so that a few small files cannot fill the memory.
_JPEG_BYTES, _OTHER_BYTES, _HEAVY = 6, 20, 160_000_000

# What a model says of images, uint8 ``[N, S, S, 3]``: its answers, or those with heat maps.
Ask: TypeAlias = Callable[[Pixels], Iterable[Answer]]


@dataclass(frozen=True, slots=True)
class Asks:
    """What a model is asked of a batch that it sees beside others, on one core, and of one that it sees alone."""

    beside: Ask
    alone: Ask


# Is shown each photo with its SHA-256, what is said of it and what the model saw; it must not wait for anything.
Seen: TypeAlias = Callable[[Submitted, str, Prediction, Answer], None]


@dataclass(slots=True)
class _Request:
    """The photos of one request, their predictions so far, the model that gives all of them, what it is asked beside
    others and where it is alone, and who is shown what it said."""

    model: Model
    ask: Ask
    alone: Ask
    seen: Seen | None
    photos: Sequence[Submitted]
    answered: asyncio.Future[list[Prediction | PhotoError]]
    found: dict[int, Prediction | PhotoError] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.answered.done()


@dataclass(frozen=True, slots=True)
class _Ready:
    """A photo that the model can see; its SHA-256 where somebody is shown it."""

    request: _Request
    place: int
    pixels: Pixels
    sha256: str


class Engine:
    """Answers photos; made and asked in one event loop."""

    def __init__(self, config: ServeConfig, metrics: Metrics) -> None:
        self._config, self._metrics = config, metrics
        self._loop = asyncio.get_running_loop()
        self._decoders = ThreadPoolExecutor(config.threads, thread_name_prefix="kramar-decode")
        self._heavy_decoder = ThreadPoolExecutor(1, thread_name_prefix="kramar-heavy")
        self._changed = threading.Condition()
        self._ready: deque[_Ready] = deque()
        self._decoding = 0
        self._is_closed = False
        self._seconds_each = 0.0
        self.waiting = 0
        self._idle = 0
        self._has_all = False
        # Daemons, so that a second Ctrl-C ends the process although photos wait.
        self._lanes = [
            threading.Thread(target=self._work, name=f"kramar-model-{number}", daemon=True)
            for number in range(config.threads)
        ]
        for lane in self._lanes:
            lane.start()

    @property
    def is_working(self) -> bool:
        """Whether photos are answered."""
        return not self._is_closed and all(lane.is_alive() for lane in self._lanes)

    @contextmanager
    def places(self, photos: int) -> Iterator[None]:
        """Room for ``photos`` in the queue as long as the block lasts. Raises RequestError where there is none."""
        self.check_room(photos)
        self.waiting += photos
        self._metrics.queue.set(self.waiting)
        try:
            yield
        finally:
            self.waiting -= photos
            self._metrics.queue.set(self.waiting)

    def check_room(self, photos: int) -> None:
        """Raise RequestError where the queue has no room for ``photos``."""
        if not self.is_working:
            raise RequestError("unavailable", "the service is ending: ask again in a moment", retry_after=1)
        if self.waiting + photos > self._config.limits.waiting:
            wait = max(1, math.ceil(self.waiting * self._seconds_each / len(self._lanes)))
            raise RequestError(
                "queue_full", f"{self.waiting} photos are waiting: ask again in {wait} s", retry_after=wait
            )

    async def answer(
        self, model: Model, photos: Sequence[Submitted], asks: Asks | None = None, seen: Seen | None = None
    ) -> list[Prediction | PhotoError]:
        """A prediction of ``model`` for each of ``photos``, or why there is none, in order.

        ``asks`` is what the model is asked of a batch; by default nothing but its answers. ``seen`` is shown them.
        Where it is cancelled, the work that is left is dropped.
        """
        asks = asks or Asks(model.answers, model.answers)
        request = _Request(model, asks.beside, asks.alone, seen, photos, self._loop.create_future())
        with self._changed:
            self._decoding += len(photos)
        for place in range(len(photos)):
            self._decoders.submit(self._decode, request, place)
        return await request.answered

    def close(self) -> None:
        """End the threads, when what was accepted is answered."""
        self._decoders.shutdown(cancel_futures=True)
        self._heavy_decoder.shutdown(cancel_futures=True)
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for lane in self._lanes:
            lane.join()

    def _decode(self, request: _Request, place: int, *, alone: bool = False) -> None:
        """Make a photo ready; ``alone`` says that no other large one is being decoded."""
        ready, moved = None, False
        try:
            if not request.is_over:
                photo = request.photos[place]
                if not alone and self._is_heavy(photo):
                    self._heavy_decoder.submit(self._decode, request, place, alone=True)
                    moved = True
                else:
                    pixels = request.model.pixels(photo.data)
                    # Here, where there are several threads, and others go on meanwhile.
                    digest = hashlib.sha256(photo.data).hexdigest() if request.seen else ""
                    ready = _Ready(request, place, pixels, digest)
        except PhotoError as error:
            self._loop.call_soon_threadsafe(_deliver, [(request, place, error)])
        except Exception as error:
            self._loop.call_soon_threadsafe(_fail, request, error)
        finally:
            with self._changed:
                self._decoding -= not moved
                if ready is not None:
                    self._ready.append(ready)
                self._changed.notify()

    def _is_heavy(self, photo: Submitted) -> bool:
        """Whether it takes much memory to decode. Raises PhotoError where it is larger than is read."""
        if photo.problem is not None:
            raise photo.problem
        if not photo.data:
            return False  # who reads it says what is wrong
        found, most = header(photo.data), self._config.limits.pixels
        pixels = found.width * found.height
        if pixels > most:
            raise PhotoError(
                "too_large", f"{found.width} x {found.height} pixels; at most {most:,} are read: shrink it first"
            )
        return pixels * (_JPEG_BYTES if found.format == "JPEG" else _OTHER_BYTES) > _HEAVY

    def _work(self) -> None:
        while True:
            batch, is_alone = self._next_batch()
            if not batch and self._is_closed:
                return
            try:
                found = self._predict(batch, is_alone=is_alone) if batch else []
            except Exception as error:
                for one in batch:
                    self._loop.call_soon_threadsafe(_fail, one.request, error)
            else:
                self._loop.call_soon_threadsafe(_deliver, found)
            finally:
                if is_alone:
                    with self._changed:
                        self._has_all = False
                        self._changed.notify_all()

    def _next_batch(self) -> tuple[list[_Ready], bool]:
        """What is ready, of one model that is asked one thing, but for what other idle threads can take; and whether
        it is one photo alone, for which all cores are taken. Of those, there is one at a time."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._is_closed or (self._ready and not (self._has_all and self._is_one)))
            is_alone = self._is_one and not self._has_all
            batch = self._take(min(self._config.max_batch, math.ceil(len(self._ready) / self._idle)))
            self._idle -= 1
            self._has_all |= is_alone
            return batch, is_alone

    @property
    def _is_one(self) -> bool:
        """Whether one photo waits for the model, and no other will at once."""
        return len(self._ready) == 1 and not self._decoding

    def _take(self, most: int) -> list[_Ready]:
        batch: list[_Ready] = []
        while self._ready and len(batch) < most:
            # Methods are equal where they are the same one of the same model.
            if batch and self._ready[0].request.ask != batch[0].request.ask:
                break
            one = self._ready.popleft()
            if not one.request.is_over:
                batch.append(one)
        return batch

    def _predict(self, batch: Sequence[_Ready], *, is_alone: bool) -> list[tuple[_Request, int, Prediction]]:
        first, began = batch[0].request, time.monotonic()
        ask = first.alone if is_alone else first.ask
        answers = list(ask(np.stack([one.pixels for one in batch])))
        each = (time.monotonic() - began) / len(batch)
        self._seconds_each += _NEWEST * (each - self._seconds_each)
        self._metrics.batches.observe(len(batch))
        found = []
        for one, answer in zip(batch, answers, strict=True):
            photo = one.request.photos[one.place]
            said = first.model.predict(photo.name, answer)
            if one.request.seen is not None:
                one.request.seen(photo, one.sha256, said, answer)
            found.append((one.request, one.place, row(said, answer)))
        return found


def _deliver(found: Sequence[tuple[_Request, int, Prediction | PhotoError]]) -> None:
    for request, place, said in found:
        request.found[place] = said
        if len(request.found) == len(request.photos) and not request.is_over:
            request.answered.set_result([request.found[place] for place in range(len(request.photos))])


def _fail(request: _Request, error: Exception) -> None:
    if not request.is_over:
        request.answered.set_exception(error)
