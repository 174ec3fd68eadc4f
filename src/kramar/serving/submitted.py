"""The photos of a request: of a form, of a JSON document, or the body itself."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kramar.errors import PhotoError, RequestError
from kramar.serving.multipart import parts

# What JSON around a photo may have of these characters, of which Base64 has none: small bodies could else become
# millions of small objects.
_STRUCTURE, _EACH = b"{}[],:", 64


@dataclass(frozen=True, slots=True)
class Submitted:
    """A photo as a client gave it: its bytes, or where they are, or why there are none."""

    name: str
    data: bytes = b""
    url: str = ""
    problem: PhotoError | None = None


class PhotoDocument(BaseModel):
    """A photo in JSON: its bytes in Base64, or its URL where the service fetches those."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field("", max_length=4096, description="A name, which its prediction has too.")
    data: str = Field("", description="The encoded file in Base64.", json_schema_extra={"contentEncoding": "base64"})
    url: str = Field("", max_length=4096, description="Where it is; only where the service allows URLs.")


class PhotosDocument(BaseModel):
    """Photos in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    photos: Annotated[list[PhotoDocument], Field(min_length=1)]


def submitted(body: bytes, content_type: str, most: int, *, urls: bool) -> list[Submitted]:
    """The photos in ``body``, from one to ``most``. Raises RequestError.

    ``urls`` says whether a photo may be a URL.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        found = _of_form(body, content_type, most)
    elif kind == "application/json":
        found = _of_json(body, most, urls=urls)
    elif kind.startswith("image/") or kind == "application/octet-stream":
        found = [Submitted("", body)]
    else:
        raise RequestError(
            "media_type",
            "expected multipart/form-data, application/json, image/... or application/octet-stream, "
            f"found {kind[:80] or 'no content type'!r}",
        )
    if not found:
        raise RequestError("malformed", "no photo: send at least one in the form's field 'photos'")
    return found


def _of_form(body: bytes, content_type: str, most: int) -> list[Submitted]:
    found = []
    for part in parts(body, content_type, most):
        if part.field != "photos":
            raise RequestError("malformed", f"expected the form's field 'photos', found {part.field[:80]!r}")
        found.append(Submitted(part.filename, part.data))
    return found


def _of_json(body: bytes, most: int, *, urls: bool) -> list[Submitted]:
    if sum(body.count(one) for one in _STRUCTURE) > _EACH * (most + 1):
        raise RequestError("too_large", f"more JSON than {most} photos need: send at most {most} in one request")
    try:
        document = PhotosDocument.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, problem["loc"]))[:200] or "the document"
        raise RequestError("malformed", f"JSON, {where}: {problem['msg'][:200]}") from None
    if len(document.photos) > most:
        raise RequestError("too_large", f"{len(document.photos)} photos: send at most {most} in one request")
    return [_of_document(one, place, urls=urls) for place, one in enumerate(document.photos)]


def _of_document(photo: PhotoDocument, place: int, *, urls: bool) -> Submitted:
    is_url = "url" in photo.model_fields_set
    if is_url == ("data" in photo.model_fields_set):
        raise RequestError("malformed", f"JSON, photos.{place}: expected one of 'data' and 'url'")
    if is_url:
        if not urls:
            raise RequestError(
                "malformed", f"JSON, photos.{place}: this service fetches no URLs (--allow-urls): send the photo itself"
            )
        return Submitted(photo.image or photo.url, url=photo.url)
    try:
        return Submitted(photo.image, base64.b64decode(photo.data, validate=True))
    except (binascii.Error, ValueError):
        return Submitted(photo.image, problem=PhotoError("unreadable", "not Base64"))
