"""What the endpoints share: the model, the queue before it, and who may ask how much."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from kramar.errors import PhotoError, RequestError
from kramar.records import Prediction
from kramar.serving.bodies import Allowance, Bodies
from kramar.serving.documents import ExplainedPrediction
from kramar.serving.engine import Asks, Engine, Seen
from kramar.serving.fetching import Connect, Fetcher, Resolve
from kramar.serving.keys import Keys, Rates
from kramar.serving.live_model import LiveModel, Opened
from kramar.serving.metrics import Metrics
from kramar.serving.patterns import Pattern
from kramar.serving.settings import ServeConfig
from kramar.serving.submitted import Submitted, submitted

if TYPE_CHECKING:
    from kramar.serving.inbox import Inbox
    from kramar.serving.live_figures import LiveFigures

log = logging.getLogger(__name__)

# Photos that are fetched at the same time: they wait for other servers, and need no core.
_FETCHERS = 8
# Smaller documents are parsed sooner than another thread is found.
_LARGE = 256 * 1024


class Service:
    """One process's model and queue."""

    def __init__(self, config: ServeConfig, resolve: Resolve, connect: Connect) -> None:
        """Open the model and read the keys. Raises ModelFileError and InputError."""
        self.config, limits = config, config.limits
        self.metrics = Metrics()
        self.inbox: Inbox | None = None
        self.figures: LiveFigures | None = None
        source = None
        if config.review is not None:
            # What it needs takes time and memory, and nobody else needs it.
            from kramar.reviewing import choosing
            from kramar.serving.inbox import Inbox
            from kramar.serving.live_figures import LiveFigures

            self.inbox, self.figures = Inbox(config.review, self.metrics), LiveFigures(config.review)
            source = choosing.source
        self.live = LiveModel(config.model, config.threads, source)
        self.metrics.loaded.set(self.live.current.since)
        self.keys = None if config.keys is None else Keys.read(config.keys)
        # Each worker sees its share of the requests.
        self._rates = Rates(limits.rate / config.workers)
        self._bodies = Bodies(limits)
        patterns = tuple(map(Pattern.parse, config.allow_urls))
        self._fetcher = Fetcher(patterns, limits.deadline, resolve, connect) if patterns else None
        self.engine: Engine | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The queue is open, and the model file watched, as long as the block lasts."""
        self.engine = Engine(self.config, self.metrics)
        self._fetchers = ThreadPoolExecutor(_FETCHERS, thread_name_prefix="kramar-fetch")
        if self.inbox is not None:
            self.inbox.start()
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            self._fetchers.shutdown(cancel_futures=True)
            self.engine.close()
            if self.inbox is not None:
                self.inbox.close()
            if self.figures is not None:
                self.figures.close()
            self.metrics.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.config.poll)
            loaded = await asyncio.to_thread(self.live.look)
            if loaded is not None:
                self.metrics.reloads.labels("loaded" if loaded else "refused").inc()
                self.metrics.loaded.set(self.live.current.since)

    @property
    def is_ready(self) -> bool:
        """Whether photos are answered."""
        return self.engine is not None and self.engine.is_working

    async def told(self) -> bytes:
        """The figures for Prometheus."""
        if self.figures is None:
            return self.metrics.text()
        return self.metrics.text() + await self.figures.text(self.live.current.source)

    def admit(self, key: str | None) -> str:
        """Whose ``key`` is, where keys are asked for. Raises RequestError."""
        assert self.keys is not None
        owner = self.keys.admit(key)
        if wait := self._rates.wait(owner):
            seconds = math.ceil(wait)
            raise RequestError(
                "too_many_requests",
                f"more than {self.config.limits.rate:g} requests a second: ask again in {seconds} s",
                retry_after=seconds,
            )
        return owner

    async def classify(
        self, request: Request, told: dict[str, Any], *, explain: bool = False
    ) -> tuple[Opened, list[Prediction]]:
        """A prediction for each photo of the request, and the model that gave them. Raises RequestError.

        ``told`` is what the log says of it; ``explain`` asks for heat maps.
        """
        if self.engine is None:
            raise RequestError("unavailable", "the service is starting: ask again in a moment", retry_after=1)
        # Before the body, which would be read for nothing.
        self.engine.check_room(1)
        with self._bodies.allowance() as allowance:
            body = await self._bodies.read(request, allowance)
            told["bytes"] = len(body)
            photos = await self._photos(body, request.headers.get("content-type", ""))
            del body
            told["photos"] = len(photos)
            with self.engine.places(len(photos)):
                opened = self.live.current
                seen = None
                if self.inbox is not None and opened.source is not None:
                    seen = partial(self.inbox.see, opened.source)
                asks = _asked(opened, explain=explain, embedded=seen is not None)
                found = await self._answered(self.engine, opened, asks, seen, photos, allowance)
        if len(found) == 1 and isinstance(found[0], PhotoError):
            self.metrics.photos.labels("error").inc()
            raise RequestError(found[0].kind, str(found[0]))
        empty = ExplainedPrediction if explain else Prediction
        predictions = [
            empty(image=photo.name, error=str(said)) if isinstance(said, PhotoError) else said
            for photo, said in zip(photos, found, strict=True)
        ]
        self.metrics.answered(predictions)
        return opened, predictions

    async def _photos(self, body: bytes, content_type: str) -> list[Submitted]:
        most, urls = self.config.limits.photos, self._fetcher is not None
        if len(body) < _LARGE:
            return submitted(body, content_type, most, urls=urls)
        return await asyncio.to_thread(submitted, body, content_type, most, urls=urls)

    async def _answered(
        self,
        engine: Engine,
        opened: Opened,
        asks: Asks,
        seen: Seen | None,
        photos: Sequence[Submitted],
        allowance: Allowance,
    ) -> list[Prediction | PhotoError]:
        seconds = self.config.limits.deadline
        try:
            async with asyncio.timeout(seconds):
                if any(photo.url for photo in photos):
                    loop = asyncio.get_running_loop()
                    photos = await asyncio.gather(
                        *(loop.run_in_executor(self._fetchers, self._fetched, photo, allowance) for photo in photos)
                    )
                return await engine.answer(opened.model, photos, asks, seen)
        except TimeoutError:
            raise RequestError(
                "deadline", f"not answered within {seconds:g} seconds: send fewer photos at once, or ask again later"
            ) from None

    def _fetched(self, photo: Submitted, allowance: Allowance) -> Submitted:
        if not photo.url:
            return photo
        assert self._fetcher is not None
        try:
            return replace(photo, data=self._fetcher.fetch(photo.url, allowance.take))
        except PhotoError as error:
            return replace(photo, problem=error)


def _asked(opened: Opened, *, explain: bool, embedded: bool) -> Asks:
    """What the model is asked of photos. Raises RequestError where it has no heat maps and is asked for them.

    What it saw is made on the way to its answers: to be ``embedded`` costs a photo nothing but its copy.
    """
    if not explain:
        both = opened.model, opened.alone
        return Asks(*((one.embedded if embedded else one.answers) for one in both))
    if opened.heat_maps is None:
        raise RequestError(
            "no_heat_maps",
            "heat maps are unavailable: this model has more than one layer on top of its last feature map; "
            "ask without heat_map",
        )
    # One core even where a photo is alone: who asks is a person.
    return Asks(opened.heat_maps.explained, opened.heat_maps.explained)
