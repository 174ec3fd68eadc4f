"""What is said where something cannot be done at the desk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi.responses import JSONResponse

from kramar.serving.problems import Problem

# Those of reviews (`errors.ReviewError`), of photos (`errors.PhotoError`, with "gone" and "replaced"), of requests.
STATUS = {
    "malformed": 400,
    "unauthorised": 401,
    "elsewhere": 403,
    "other": 403,
    "missing": 404,
    "not_found": 404,
    "wrong_method": 405,
    "slow_body": 408,
    "decided": 409,
    "taken": 409,
    "undecided": 409,
    "gone": 410,
    "replaced": 410,
    "too_large": 413,
    "media_type": 415,
    "invalid": 422,
    "unreadable": 422,
    "queue_full": 429,
    "failed": 500,
    "unavailable": 503,
}
_WHAT = {
    400: "What was sent is not what is expected.",
    401: "A key is needed, and none or a wrong one was given.",
    403: "Another page asked, or the decision is somebody else's.",
    404: "There is none such.",
    405: "Another method is expected.",
    408: "The body came too slowly.",
    409: "Somebody else has it, or it is decided.",
    410: "The photo is not there any more, or another one is.",
    413: "What was sent, or the photo, is too large.",
    415: "Only application/json is read.",
    422: "A name cannot be used, or the photo cannot be read.",
    429: "Too many requests at the same time.",
    500: "A bug, or the machine said no.",
    503: "The database says no.",
}
# What any endpoint may answer, and those that change something.
ANY, CHANGES = (400, 401, 403, 500, 503), (404, 408, 409, 413, 415, 422, 429)


def described(statuses: Iterable[int]) -> dict[int | str, dict[str, Any]]:
    """Of an endpoint, for the desk's description."""
    return {status: {"model": Problem, "description": _WHAT[status]} for status in statuses}


def answer(kind: str, error: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer that says so."""
    return JSONResponse(Problem(kind=kind, error=error).model_dump(), STATUS[kind], headers)
