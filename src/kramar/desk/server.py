"""The desk at its address, until it is told to end."""

from __future__ import annotations

from collections.abc import Callable

from kramar.desk.app import create_app
from kramar.desk.settings import DeskConfig
from kramar.serving.server import run_alone, uvicorn_config

# What was decided is kept before it ends.
_PATIENCE = 10


def run(config: DeskConfig, told: Callable[[str], None]) -> None:
    """Serve the desk until SIGTERM or Ctrl-C; ``told`` gets the address when requests are taken.

    Raises InputError where there is no queue or the address cannot be had, and KeyboardInterrupt where a second Ctrl-C
    ends it at once.
    """
    run_alone(uvicorn_config(create_app(config), _PATIENCE), config.host, config.port, told)
