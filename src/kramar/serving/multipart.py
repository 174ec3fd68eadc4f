"""``multipart/form-data`` (RFC 7578) of a body that is whole and within limits: its files, and nothing written to disk.

Written here since a file is all that is wanted, and few of them: parsing stops at the first part too many.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from kramar.errors import RequestError

# A browser's header of a part is under 500 bytes; a file's name is at most 255 characters.
_MOST_HEADER = 4096
_BOUNDARY = re.compile(r"""boundary=(?:"([^"\r\n]{1,70})"|([^\s";,]{1,70}))(?=\s*(?:;|$))""", re.IGNORECASE)
_PARAMETER = re.compile(r""";\s*(?P<name>[\w!#$&+^`|~.-]+\*?)=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s";]*))""")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a form: the field's name, the file's name as the client knows it, its bytes."""

    field: str
    filename: str
    data: bytes


def parts(body: bytes, content_type: str, most: int) -> Iterator[Part]:
    """The parts of ``body`` in order. Raises RequestError where it is broken, or has more than ``most``."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise RequestError("malformed", "multipart/form-data without a boundary in its content type")
    line = b"--" + (found[1] or found[2]).encode("latin-1", "replace")
    mark = b"\r\n" + line
    # The first line may be the boundary itself, without an empty one before it.
    at = len(line) if body.startswith(line) else _after(body, mark, 0)
    count = 0
    while not body.startswith(b"--", at):
        if not body.startswith(b"\r\n", at):
            raise RequestError("malformed", "multipart/form-data with something else behind a boundary")
        count += 1
        if count > most:
            raise RequestError("too_large", f"more than {most} parts: send at most {most} photos in one request")
        start = body.find(b"\r\n\r\n", at, at + _MOST_HEADER)
        if start < 0:
            raise RequestError("malformed", f"part {count} of the form has no end of its header")
        field, filename = _named(body[at:start], count)
        end = body.find(mark, start + 2)
        if end < 0:
            raise RequestError("malformed", f"part {count} of the form is cut off: its last boundary is missing")
        yield Part(field, filename, body[start + 4 : end])
        at = end + len(mark)


def _after(body: bytes, mark: bytes, start: int) -> int:
    at = body.find(mark, start, start + _MOST_HEADER)
    if at < 0:
        raise RequestError("malformed", "multipart/form-data whose first boundary is not that of its content type")
    return at + len(mark)


def _named(header: bytes, number: int) -> tuple[str, str]:
    """The field and the file that a part's header names; the file may have none."""
    for line in header.split(b"\r\n"):
        name, _, value = line.decode("utf-8", "replace").partition(":")
        if name.strip().lower() == "content-disposition" and value.strip().lower().startswith("form-data"):
            given = {
                one["name"].lower(): one["plain"] if one["quoted"] is None else re.sub(r"\\(.)", r"\1", one["quoted"])
                for one in _PARAMETER.finditer(value)
            }
            if "name" in given:
                return given["name"], _extended(given.get("filename*")) or given.get("filename", "")
    raise RequestError("malformed", f"part {number} of the form has no name (Content-Disposition)")


def _extended(value: str | None) -> str:
    """The name in ``UTF-8''caf%C3%A9.jpg`` (RFC 8187)."""
    if value is None or not value.lower().startswith("utf-8'"):
        return ""
    return unquote_to_bytes(value.split("'", 2)[-1]).decode("utf-8", "replace")
