"""``python -m kramar``."""

from kramar.cli import run

if __name__ == "__main__":  # the workers of kramar serve import it, too
    run()
