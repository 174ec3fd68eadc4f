"""``kramar review``: the review queue in a browser."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from kramar.config import whole_number
from kramar.jobs.placed import check_there, missing_part, placed, queue_name
from kramar.serving.settings import HOST, PORT

_COMMAND = "kramar review"


def review(
    model: str | os.PathLike[str],
    *,
    database: str | None = None,
    host: str = HOST,
    port: int = PORT,
    api_key_file: str | os.PathLike[str] | None = None,
    told: Callable[[str], None] | None = None,
) -> None:
    """Let people decide in a browser what the model is not sure of, until SIGTERM or Ctrl-C.

    Args:
        model: a run folder, or a model file.
        database: the review queue: a file, or a URL of SQLite or PostgreSQL; by default ``review.sqlite`` beside it.
        host: the address to listen on; one that other machines reach needs ``api_key_file``.
        port: 0 takes a free one.
        api_key_file: the keys that are let in, as ``NAME:SHA256`` a line; the names are the reviewers.
        told: is given the address as soon as it takes requests.

    Raises:
        InputError: there is no queue, or an option, the model file or the address cannot be used.
    """
    try:
        from kramar.desk.server import run
        from kramar.desk.settings import DeskConfig
        from kramar.reviewing.database import shown
    except ModuleNotFoundError as error:
        raise missing_part(error, _COMMAND) from None
    path, _ = placed(Path(model))
    check_there(path)
    named = [] if database is None else ["--database", shown(database)]
    config = DeskConfig(
        database=queue_name(path, database),
        model=path,
        learn=shlex.join(["kramar", "learn", str(model), *named]),
        host=host,
        port=whole_number(port, "--port", 0, 65535),
        keys=None if api_key_file is None else Path(api_key_file),
    )
    run(config, told or (lambda _address: None))
