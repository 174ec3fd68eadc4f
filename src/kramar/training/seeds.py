"""Seeds from seeds."""

from __future__ import annotations

import hashlib
import struct


def derived(*numbers: int) -> int:
    """A seed of 63 bits from several numbers, so that no two uses of one seed draw the same."""
    digest = hashlib.blake2b(struct.pack(f"<{len(numbers)}q", *numbers), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
