"""What a request that cannot be answered is told."""

from __future__ import annotations

from dataclasses import dataclass

from kramar.records import Record

# A photo's own kinds (`errors.PhotoError`) are among them: they are told where a request has no other photo.
STATUS = {
    "malformed": 400,
    "unauthorised": 401,
    "not_found": 404,
    "wrong_method": 405,
    "slow_body": 408,
    "no_heat_maps": 409,
    "too_large": 413,
    "media_type": 415,
    "unreadable": 422,
    "missing": 422,
    "refused_url": 422,
    "too_many_requests": 429,
    "queue_full": 429,
    "failed": 500,
    "unavailable": 503,
    "deadline": 504,
}


class Problem(Record):
    """Why a request was not answered, and what to do.

    ``kind`` is one of `STATUS`; ``error`` is one line for a person.
    """

    kind: str
    error: str


@dataclass(frozen=True, slots=True)
class Said:
    """A status of an endpoint in the service's description."""

    status: int
    what: str


CLASSIFY = (
    Said(400, "The body is not what its content type says, or has no photo."),
    Said(401, "An API key is needed, and none or a wrong one was given."),
    Said(408, "The body came too slowly."),
    Said(409, "Heat maps were asked for, and this model has none: ask without `heat_map`."),
    Said(413, "The body, the photo or their number is larger than this service takes."),
    Said(415, "The content type is none of those that are read."),
    Said(422, "The request's only photo cannot be read."),
    Said(429, "Too many requests by this key, or too many photos waiting: `Retry-After` says when to come back."),
    Said(500, "A bug, or the machine said no."),
    Said(503, "The service is ending."),
    Said(504, "Not answered within the deadline."),
)
KEYED = tuple(one for one in CLASSIFY if one.status in (401, 429, 500))
