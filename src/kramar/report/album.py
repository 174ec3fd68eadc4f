"""Pictures inside the page, within a limit of bytes."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

ALBUM_BYTES = 3_600_000
PICTURE_BYTES = 64_000
_SIGNATURES = (("image/jpeg", b"\xff\xd8\xff"), ("image/png", b"\x89PNG"), ("image/webp", b"RIFF"))


@dataclass(slots=True)
class Album:
    """Turns photos into ``data:`` URIs until ``left`` bytes of page are used up.

    One picture may take ``PICTURE_BYTES``; an album with less room than that is full, and asks for no more
    thumbnails, since making one costs a decoded photo.
    """

    thumbnail: Callable[[str], bytes | None]
    left: int = ALBUM_BYTES

    @property
    def full(self) -> bool:
        """Whether no further picture is taken."""
        return self.left < PICTURE_BYTES

    def picture(self, image: str) -> str | None:
        """The photo ``image`` as a ``data:`` URI; None where the album is full or there is no thumbnail."""
        return self.add(self.thumbnail, image)

    def add(self, pictured: Callable[[str], bytes | None], image: str) -> str | None:
        """As `picture`, with another picture of it than its thumbnail."""
        content = None if self.full else pictured(image)
        if content is None:
            return None
        kind = next((kind for kind, signature in _SIGNATURES if content.startswith(signature)), None)
        if kind is None:
            return None
        uri = f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
        if len(uri) > PICTURE_BYTES:
            return None
        self.left -= len(uri)
        return uri


@dataclass(frozen=True, slots=True)
class Print:
    """One photo of the page; ``uri`` is None where only its name can be shown."""

    image: str
    uri: str | None


@dataclass(slots=True)
class Shelf:
    """The sample photos of one class, and how many more there were no room for."""

    prints: list[Print] = field(default_factory=list)
    left_off: int = 0


def shelves(album: Album, samples: Mapping[str, Sequence[str]]) -> dict[str, Shelf]:
    """A shelf a class, filled in turns, so that every class has a first photo before any has a second."""
    filled = {label: Shelf() for label in samples}
    for turn in range(max(map(len, samples.values()), default=0)):
        for label, images in samples.items():
            if turn >= len(images):
                continue
            if album.full:
                filled[label].left_off += 1
            else:
                filled[label].prints.append(Print(images[turn], album.picture(images[turn])))
    return filled
