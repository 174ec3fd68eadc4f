"""What schemathesis loads for ``benchmarks.fuzz``: where the service's description says "a photo", it draws photos.

Random bytes are none, and to refuse them is right: without this, a refusal of what the description allows would tell
nothing. Broken photos are the other part of ``benchmarks.fuzz``.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import schemathesis
from hypothesis import strategies as st
from PIL import Image

from kramar.serving.settings import DEFAULT_MAX_PHOTOS

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_BASE64 = "kramar-photo-base64"
# Characters of a photo's name in JSON, by the description.
_LONGEST_NAME = 4096


def _photo(kind: str, width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, kind)
    return out.getvalue()


_SHADES = st.integers(0, 255)
PHOTOS = st.builds(
    _photo, st.sampled_from(_FORMATS), st.integers(1, 80), st.integers(1, 80), st.tuples(_SHADES, _SHADES, _SHADES)
)


def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:  # noqa: ARG001 - schemathesis names it
    """Give the Base64 of a photo a format of its own, which draws it."""
    body = raw_schema["paths"]["/v1/classify"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    body["properties"]["photos"]["items"]["properties"]["data"]["format"] = _BASE64


def filter_case(context: Any, case: Any) -> bool:  # noqa: ARG001 - schemathesis names it
    """Leave away wrong data that is right where it arrives.

    In JSON, what is wrong only in that a photo is none: that is a row with an error among others (one alone is refused,
    which ``benchmarks.hostile`` sees to). In a form, what is wrong only in that there is another field that is an empty
    list: it has no part.
    """
    if case.meta is None or case.meta.generation.mode.is_positive or not isinstance(case.body, dict):
        return True
    if case.media_type == "multipart/form-data":
        return not _are_photos(case.body.get("photos")) or any(
            value != [] for field, value in case.body.items() if field != "photos"
        )
    if set(case.body) != {"photos"} or not isinstance(case.body["photos"], list):
        return True
    photos = case.body["photos"]
    return not 1 <= len(photos) <= DEFAULT_MAX_PHOTOS or not all(map(_has_text, photos)) or all(map(_has_photo, photos))


def _are_photos(given: object) -> bool:
    return isinstance(given, list) and 1 <= len(given) <= DEFAULT_MAX_PHOTOS and all(map(_is_photo, given))


def _has_text(given: object) -> bool:
    """Whether it is what the description asks for, but for what its text is of."""
    return (
        isinstance(given, dict)
        and {"data"} <= set(given) <= {"data", "image"}
        and all(isinstance(value, str) for value in given.values())
        and len(given.get("image", "")) <= _LONGEST_NAME
    )


def _has_photo(given: dict[str, str]) -> bool:
    try:
        return _is_photo(base64.b64decode(given["data"], validate=True))
    except ValueError:
        return False


def _is_photo(given: object) -> bool:
    if not isinstance(given, bytes):
        return False
    try:
        Image.open(io.BytesIO(given)).load()
    except (OSError, ValueError):
        return False
    return True


schemathesis.openapi.format("binary", PHOTOS)
schemathesis.openapi.format(_BASE64, PHOTOS.map(lambda photo: base64.b64encode(photo).decode()))
schemathesis.openapi.media_type("image/*", PHOTOS)
schemathesis.openapi.media_type("application/octet-stream", PHOTOS)
schemathesis.hook(before_load_schema)
schemathesis.hook(filter_case)
