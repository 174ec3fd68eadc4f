"""``python -m kramar``."""

from kramar.cli import run

run()
