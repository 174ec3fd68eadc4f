"""The desk's endpoints, and their description (OpenAPI)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from kramar.desk import documents as told
from kramar.desk.guard import Guard
from kramar.desk.page import files
from kramar.desk.photos import LARGE, TILE, shown
from kramar.desk.problems import ANY, CHANGES, answer, described
from kramar.desk.settings import DeskConfig
from kramar.desk.table import Table
from kramar.errors import InputError, OutputError, PhotoError, RequestError, ReviewError
from kramar.reviewing.records import Decided, NewCategory
from kramar.serving.documents import Health
from kramar.serving.keys import Keys
from kramar.serving.observing import Observed
from kramar.serving.page import add_page
from kramar.version import __version__

_PATHS = frozenset({
    "/", "/v1/desk", "/v1/claims", "/v1/release", "/v1/decisions", "/v1/undo", "/v1/categories", "/v1/standing",
    "/v1/history", "/healthz", "/openapi.json",
})  # fmt: skip
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}
}
_ALONE = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}

_Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))]
_Key = Annotated[str | None, Security(APIKeyHeader(name="X-API-Key", auto_error=False))]


def _owner(request: Request, bearer: _Bearer, key: _Key) -> str:
    """The name of who asks, by their key; empty where the desk has no keys. Raises RequestError."""
    keys: Keys | None = request.app.state.keys
    if keys is None:
        return ""
    owner = keys.admit(key if bearer is None else bearer.credentials)
    request.scope["state"]["told"]["key"] = owner
    return owner


_Owner = Annotated[str, Depends(_owner)]
_Item = Annotated[int, Path(ge=1, le=told.BIGGEST)]
_Large = Annotated[bool, Query(description=f"{LARGE} pixels wide or high at most, instead of {TILE}.")]
_Most = Annotated[int, Query(ge=1, le=told.MOST)]
_Before = Annotated[int | None, Query(ge=1, le=told.BIGGEST, description="The row before which to begin.")]


def create_app(config: DeskConfig) -> FastAPI:
    """The desk as an ASGI application. Raises InputError where there is no queue, or the keys cannot be read."""
    keys = None if config.keys is None else Keys.read(config.keys)
    table = Table(config)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        table.close()

    # Its pages for people load scripts from elsewhere.
    app = FastAPI(
        title="kramar review",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.keys = keys
    _add_endpoints(app, table)
    add_page(app, files())
    for error in (
        ReviewError,
        PhotoError,
        RequestError,
        InputError,
        OutputError,
        RequestValidationError,
        HTTPException,
    ):
        app.add_exception_handler(error, _refused)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(Guard, host=config.host, is_open=keys is None)
    app.add_middleware(Observed, metrics=None, paths=_PATHS)
    return app


def _add_endpoints(app: FastAPI, table: Table) -> None:
    reads, changes = described(ANY), described((*ANY, *CHANGES))

    @app.get("/v1/desk", responses=reads)
    def desk(key: _Owner) -> told.Desk:
        """Who asks, and how the model learns."""
        return told.Desk(reviewer=key, learn=table.learn)

    @app.post("/v1/claims", responses=changes)
    def claim(given: told.Claim, key: _Owner) -> told.Claimed:
        """Photos for a reviewer, the most useful first: those that they have already, and then others.

        Nobody else gets them for five minutes; to ask once more within that time keeps them.
        """
        return table.claim(_reviewer(given, key), given.most, second=given.second)

    @app.post("/v1/release", responses=changes)
    def release(given: told.Asked, key: _Owner) -> told.Released:
        """Let others have what the reviewer has and did not decide."""
        table.queue.release(_reviewer(given, key))
        return told.Released()

    @app.post("/v1/decisions", responses=changes)
    def decide(given: told.Decision, key: _Owner) -> Decided:
        """Keep a decision; the answer comes when it is on disk. The same once more is the one that stands."""
        return table.decide(_reviewer(given, key), given)

    @app.post("/v1/undo", responses=changes)
    def undo(given: told.Undo, key: _Owner) -> told.Undone:
        """Take back a decision of the reviewer's own; they have the photo again."""
        return table.undo(_reviewer(given, key), given.decision)

    @app.get("/v1/categories", responses=reads)
    def categories(_key: _Owner) -> told.Categories:
        """What may be picked."""
        return table.categories()

    @app.post("/v1/categories", responses=changes)
    def add_category(given: told.Category, key: _Owner) -> NewCategory:
        """Add a category, for decisions from now on."""
        return table.queue.add_category(given.label, given.category, _reviewer(given, key))

    @app.get("/v1/standing", responses=reads)
    def standing(_key: _Owner) -> told.Standing:
        """How much is decided and by whom, how far reviewers agree, and whether the model's promise is kept."""
        return table.standing()

    @app.get("/v1/history", responses=reads)
    def history(_key: _Owner, most: _Most = 50, before: _Before = None) -> told.History:
        """Who decided what, the newest first."""
        return table.history(most, before)

    @app.get(
        "/v1/photos/{item}",
        response_class=Response,
        responses={**_JPEG, **described((*ANY, 404, 410, 413, 422))},
    )
    def photo(item: _Item, _key: _Owner, large: _Large = False) -> Response:
        """An item's photo as a small JPEG, if it is still the one that the model saw."""
        content = shown(table.database, item, LARGE if large else TILE)
        return Response(content, media_type="image/jpeg", headers=_ALONE)

    @app.get("/healthz")
    async def healthz() -> Health:
        """The process lives."""
        return Health()


def _reviewer(given: told.Asked, key: str) -> str:
    """Who decides. Raises RequestError where the key says somebody else."""
    if key and given.reviewer not in ("", key):
        raise RequestError("malformed", f"reviewer: the key is that of {key}; leave it away")
    return key or given.reviewer


async def _refused(request: Request, error: Exception) -> Response:
    kind, said, headers = _words(request, error)
    logged = request.scope["state"]["told"]
    logged["problem"] = kind
    if kind == "unavailable":
        # Who decides cannot mend the database: whoever runs the desk is told why.
        logged["error"] = said
    return answer(kind, said, headers)


def _words(request: Request, error: Exception) -> tuple[str, str, dict[str, str]]:
    """An error's kind, its line, and what else is said."""
    match error:
        case RequestError() | ReviewError() | PhotoError():
            return error.kind, str(error), {"WWW-Authenticate": "Bearer"} if error.kind == "unauthorised" else {}
        case RequestValidationError():
            problem = error.errors()[0]
            return "malformed", f"{'.'.join(map(str, problem['loc']))[:80]}: {problem['msg'][:200]}", {}
        case OutputError():
            return "unavailable", str(error), {"Retry-After": "2"}
        case HTTPException() if error.status_code == 405:
            return "wrong_method", f"{request.scope['path'][:80]} takes another method", dict(error.headers or {})
        case HTTPException():
            return "not_found", "no such endpoint: /openapi.json lists those that there are", {}
    return "invalid", str(error), {}


async def _failed(_request: Request, _error: Exception) -> Response:
    return answer("failed", "a bug, or the machine said no: the desk's log says more")
