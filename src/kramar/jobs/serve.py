"""``kramar serve``: a model file behind an address."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from kramar.config import parse_duration, parse_share, parse_size, whole_number
from kramar.errors import InputError
from kramar.jobs.doubts import keep_days as days
from kramar.jobs.doubts import refuse_without_queue
from kramar.jobs.placed import missing_part, queue_name
from kramar.serving.settings import (
    DEFAULT_BODY_TIMEOUT,
    DEFAULT_DEADLINE,
    DEFAULT_MAX_BATCH,
    DEFAULT_MAX_BODY,
    DEFAULT_MAX_PHOTOS,
    DEFAULT_MAX_PIXELS,
    DEFAULT_MAX_WAITING,
    DEFAULT_RATE,
    HOST,
    PORT,
    Limits,
    ReviewConfig,
    ServeConfig,
)


def serve(
    model: str | os.PathLike[str],
    *,
    host: str = HOST,
    port: int = PORT,
    workers: int = 1,
    api_key_file: str | os.PathLike[str] | None = None,
    cors: Sequence[str] = (),
    allow_urls: Sequence[str] = (),
    max_body: str | float = DEFAULT_MAX_BODY,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    max_photos: int = DEFAULT_MAX_PHOTOS,
    max_batch: int = DEFAULT_MAX_BATCH,
    max_waiting: int = DEFAULT_MAX_WAITING,
    rate: int = DEFAULT_RATE,
    deadline: str | float = DEFAULT_DEADLINE,
    body_timeout: str | float = DEFAULT_BODY_TIMEOUT,
    queue: bool = False,
    database: str | None = None,
    spot_check: str | float | None = None,
    keep_days: int | None = None,
    told: Callable[[str], None] | None = None,
) -> None:
    """Answer what photos show over HTTP, until SIGTERM or Ctrl-C; what was accepted by then is answered.

    A model file that is replaced is taken up without a pause; a broken one is refused, and the old one goes on.

    Args:
        model: a model file.
        host: the address to listen on; one that other machines reach needs ``api_key_file``.
        port: 0 takes a free one.
        workers: processes, which divide the cores among themselves. A script that asks for several needs
            ``if __name__ == "__main__":`` around the call.
        api_key_file: the keys that are let in, as ``NAME:SHA256`` a line.
        cors: origins whose pages may ask.
        allow_urls: patterns of the URLs that are fetched; by default none is.
        max_body: bytes of a request.
        max_pixels: pixels of a photo.
        max_photos: photos of a request.
        max_batch: photos that the model sees at once.
        max_waiting: photos of all requests that are accepted and not yet answered.
        rate: requests a second of each key.
        deadline: time from the end of a request's body to its answer.
        body_timeout: time for a request's body.
        queue: put the photos that are not ``auto`` into the review queue; ``keep_days`` is needed then.
        database: where that is: a file, or a URL of SQLite or PostgreSQL; by default ``review.sqlite`` beside
            the model.
        spot_check: a share of the ``auto`` photos that is put into it as well, to check what the model promises.
        keep_days: for how many days the queued photos themselves are kept in it.
        told: is given the address as soon as it takes requests.

    Raises:
        InputError: an option, the model file, the address or the database cannot be used.
        OutputError: the database says no.
    """
    try:
        from kramar.serving.server import run
    except ModuleNotFoundError as error:
        raise missing_part(error, "kramar serve") from None
    if not queue:
        refuse_without_queue(database=database, spot_check=spot_check, keep_days=keep_days)
    config = ServeConfig(
        model=Path(model),
        host=host,
        port=whole_number(port, "--port", 0, 65535),
        workers=whole_number(workers, "--workers", 1),
        keys=None if api_key_file is None else Path(api_key_file),
        cors=tuple(cors),
        allow_urls=tuple(allow_urls),
        max_batch=whole_number(max_batch, "--max-batch", 1),
        limits=Limits(
            body=int(parse_size(max_body, "--max-body")),
            pixels=whole_number(max_pixels, "--max-pixels", 1),
            photos=whole_number(max_photos, "--max-photos", 1),
            waiting=whole_number(max_waiting, "--max-waiting", 1),
            rate=whole_number(rate, "--rate", 1),
            deadline=parse_duration(deadline, "--deadline"),
            body_timeout=parse_duration(body_timeout, "--body-timeout"),
        ),
        review=_review(Path(model), database, spot_check, days(keep_days)) if queue else None,
    )
    run(config, told or (lambda _address: None))


def _review(model: Path, database: str | None, spot_check: str | float | None, keep_days: int | None) -> ReviewConfig:
    if keep_days is None:
        raise InputError(
            "--queue: a photo that comes over HTTP is nowhere else, and a person has to see it; say for how many days "
            "the queued ones are kept in the review database, such as --keep-days 30, or leave --queue away"
        )
    share = 0.0 if spot_check is None else parse_share(spot_check, "--spot-check")
    return ReviewConfig(queue_name(model, database), keep_days, share)
