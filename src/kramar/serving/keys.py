"""Who may ask, and how often: API keys, of which only hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kramar.errors import InputError, RequestError

_ENTRY = re.compile(r"([\w.@-]{1,64}):([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class Keys:
    """The SHA-256 of each key by its owner's name.

    A fast hash is enough since keys are drawn (32 random bytes), not thought up.
    """

    hashes: dict[str, bytes]

    @staticmethod
    def read(path: Path) -> Keys:
        """Those in ``path``: ``NAME:SHA256`` a line; ``#`` starts a comment. Raises InputError."""
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"--api-key-file: {path} cannot be read ({error}); check its path and permissions"
            ) from None
        hashes: dict[str, bytes] = {}
        for number, line in enumerate(lines, 1):
            entry = line.partition("#")[0].strip()
            if not entry:
                continue
            found = _ENTRY.fullmatch(entry)
            # Not the line itself: it may be a key, and this message goes to a log.
            if found is None or found[1] in hashes:
                raise InputError(
                    f"--api-key-file: {path}, line {number}: expected NAME:SHA256 with a name of its own; "
                    "docs/serve.md says how to make one"
                )
            hashes[found[1]] = bytes.fromhex(found[2])
        if not hashes:
            raise InputError(f"--api-key-file: {path}: expected a line NAME:SHA256, found none")
        return Keys(hashes)

    def owner(self, key: str) -> str | None:
        """Whose ``key`` is, in a time that does not depend on how much of it is right."""
        given = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        owner = None
        for name, kept in self.hashes.items():
            if hmac.compare_digest(given, kept):
                owner = name
        return owner

    def admit(self, key: str | None) -> str:
        """Whose ``key`` is. Raises RequestError where it is nobody's, or none was given."""
        owner = None if key is None else self.owner(key)
        if owner is None:
            raise RequestError(
                "unauthorised", "expected an API key: Authorization: Bearer KEY, or X-API-Key: KEY"
                + ("" if key is None else "; this one is unknown")
            )  # fmt: skip
        return owner


class Rates:
    """How often each owner may ask: ``rate`` requests a second, and twice as many at once after a pause."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._most = max(1.0, 2 * rate)
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, owner: str) -> float:
        """Count a request of ``owner``: 0, or in how many seconds it would be taken."""
        now = self._clock()
        left, since = self._left.get(owner, (self._most, now))
        left = min(self._most, left + (now - since) * self._rate)
        taken = left >= 1
        self._left[owner] = (left - 1 if taken else left, now)
        return 0.0 if taken else (1 - left) / self._rate
