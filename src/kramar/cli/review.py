"""``kramar review``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kramar.cli.options import ApiKeyFile, Database, Host, Port
from kramar.config import whole_number
from kramar.serving.settings import HOST, PORT


def review(
    model: Annotated[Path, typer.Argument(help="A run folder, or a kramar model file.")],
    database: Database = None,
    host: Host = HOST,
    port: Port = str(PORT),
    api_key_file: ApiKeyFile = None,
) -> None:
    """Let people decide in a browser what the model is not sure of.

    The address is printed when it can be opened; logs go to standard error, a line of JSON each. SIGTERM and Ctrl-C
    end it. kramar learn makes what was decided the model's own.
    """
    from kramar.jobs.review import review as job

    job(
        model,
        database=database,
        host=host,
        port=whole_number(port, "--port", 0, 65535),
        api_key_file=api_key_file,
        told=lambda address: print(address, flush=True),
    )
