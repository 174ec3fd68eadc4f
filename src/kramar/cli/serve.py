"""``kramar serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kramar.cli.options import WHOLE, ApiKeyFile, Database, Host, Port, SpotCheck
from kramar.config import whole_number
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
)


def serve(
    model: Annotated[Path, typer.Argument(help="A kramar model file; it may be replaced while it is served.")],
    host: Host = HOST,
    port: Port = str(PORT),
    workers: Annotated[str, typer.Option(metavar=WHOLE, help="Processes, which divide the cores.")] = "1",
    api_key_file: ApiKeyFile = None,
    cors: Annotated[
        list[str] | None, typer.Option(metavar="<origin>", help="An origin whose pages may ask; may be repeated.")
    ] = None,
    allow_urls: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<pattern>", help="URLs to fetch, such as https://cdn.shop.example/photos/*; may be repeated."
        ),
    ] = None,
    max_body: Annotated[str, typer.Option(metavar="<size>", help="A request is at most so large.")] = DEFAULT_MAX_BODY,
    max_pixels: Annotated[str, typer.Option(metavar=WHOLE, help="Pixels of a photo, at most.")] = str(
        DEFAULT_MAX_PIXELS
    ),
    max_photos: Annotated[str, typer.Option(metavar=WHOLE, help="Photos of a request, at most.")] = str(
        DEFAULT_MAX_PHOTOS
    ),
    max_batch: Annotated[str, typer.Option(metavar=WHOLE, help="Photos that the model sees at once, at most.")] = str(
        DEFAULT_MAX_BATCH
    ),
    max_waiting: Annotated[
        str, typer.Option(metavar=WHOLE, help="Photos that may wait, of all requests of a worker.")
    ] = str(DEFAULT_MAX_WAITING),
    rate: Annotated[str, typer.Option(metavar=WHOLE, help="Requests a second of each API key.")] = str(DEFAULT_RATE),
    deadline: Annotated[
        str, typer.Option(metavar="<time>", help="From the end of a request to its answer, at most.")
    ] = DEFAULT_DEADLINE,
    body_timeout: Annotated[
        str, typer.Option(metavar="<time>", help="For a request's body, at most.")
    ] = DEFAULT_BODY_TIMEOUT,
    queue: Annotated[
        bool,
        typer.Option("--queue", help="Put what a person has to decide into the review queue; needs --keep-days."),
    ] = False,
    database: Database = None,
    spot_check: SpotCheck = None,
    keep_days: Annotated[
        str | None, typer.Option(metavar=WHOLE, help="For how many days the queued photos are kept in it.")
    ] = None,
) -> None:
    """Answer what photos show over HTTP: POST /v1/classify.

    The address is printed when it takes requests; logs go to standard error, a line of JSON each. SIGTERM and Ctrl-C
    end it when all that was accepted is answered.
    """
    from kramar.jobs.doubts import keep_days as days
    from kramar.jobs.serve import serve as job

    job(
        model,
        host=host,
        port=whole_number(port, "--port", 0, 65535),
        workers=whole_number(workers, "--workers", 1),
        api_key_file=api_key_file,
        cors=cors or (),
        allow_urls=allow_urls or (),
        max_body=max_body,
        max_pixels=whole_number(max_pixels, "--max-pixels", 1),
        max_photos=whole_number(max_photos, "--max-photos", 1),
        max_batch=whole_number(max_batch, "--max-batch", 1),
        max_waiting=whole_number(max_waiting, "--max-waiting", 1),
        rate=whole_number(rate, "--rate", 1),
        deadline=deadline,
        body_timeout=body_timeout,
        queue=queue,
        database=database,
        spot_check=spot_check,
        keep_days=days(keep_days),
        told=lambda address: print(address, flush=True),
    )
