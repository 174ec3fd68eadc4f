"""The service's endpoints, and their description (OpenAPI)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from kramar.errors import RequestError
from kramar.serving import fetching
from kramar.serving.documents import ExplainedPredictions, Health, ModelDescription, Predictions, Readiness
from kramar.serving.observing import Observed
from kramar.serving.page import SITE, add_page
from kramar.serving.problems import CLASSIFY, KEYED, STATUS, Problem, Said
from kramar.serving.service import Service
from kramar.serving.settings import ServeConfig
from kramar.serving.submitted import PhotoDocument, PhotosDocument
from kramar.version import __version__

_JSON = "application/json"
_LATER = {"Retry-After": {"description": "When to ask again, in seconds.", "schema": {"type": "integer"}}}
_BY = {"X-Kramar-Model": {"description": "The model file's SHA-256.", "schema": {"type": "string"}}}
_ANSWERED: dict[int | str, dict[str, Any]] = {200: {"headers": _BY}}
_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
_PATHS = frozenset({"/", "/v1/classify", "/v1/model", "/healthz", "/readyz", "/metrics", "/openapi.json"})

_Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))]
_HeatMap = Annotated[bool, Query(description="Whether each prediction has a heat map: where its label was seen.")]
_Key = Annotated[str | None, Security(APIKeyHeader(name="X-API-Key", auto_error=False))]


def create_app(
    config: ServeConfig, resolve: fetching.Resolve = fetching.resolve, connect: fetching.Connect = fetching.connect
) -> FastAPI:
    """The service as an ASGI application; ``resolve`` and ``connect`` are how the hosts of URLs are reached.

    Raises ModelFileError and InputError.
    """
    service = Service(config, resolve, connect)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    # Its pages for people load scripts from elsewhere.
    app = FastAPI(
        title="kramar", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    _add_endpoints(app, service)
    add_page(app, SITE.iterdir())
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(RequestValidationError, _no_such_query)
    app.add_exception_handler(HTTPException, _no_endpoint)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _failed)
    if config.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["Retry-After", "X-Request-Id"],
        )
    app.add_middleware(Observed, metrics=service.metrics, paths=_PATHS)
    return app


def _add_endpoints(app: FastAPI, service: Service) -> None:
    needed = [] if service.keys is None else [Depends(_asks_for_key(service))]
    keyed = KEYED if needed else KEYED[-1:]

    @app.post(
        "/v1/classify",
        dependencies=needed,
        response_model=Predictions | ExplainedPredictions,
        responses=_ANSWERED | _described(one for one in CLASSIFY if needed or one.status != STATUS["unauthorised"]),
        openapi_extra={"requestBody": _bodies(service.config)},
    )
    async def classify(request: Request, heat_map: _HeatMap = False) -> Response:
        """A prediction for each photo: of a form's field `photos`, of JSON, or the body itself."""
        opened, rows = await service.classify(request, request.scope["state"]["told"], explain=heat_map)
        content = Predictions(predictions=rows).model_dump_json(serialize_as_any=True)
        return Response(content, media_type=_JSON, headers={"X-Kramar-Model": opened.sha256})

    @app.get("/v1/model", dependencies=needed, response_model=ModelDescription, responses=_described(keyed))
    async def model() -> Response:
        """What the model knows, promises and was measured to do, and where it is from."""
        return Response(
            ModelDescription.of(service.live.current, service.config.limits).model_dump_json(), media_type=_JSON
        )

    @app.get("/healthz")
    async def healthz() -> Health:
        """The process lives."""
        return Health()

    @app.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness, "description": "Not now."}})
    async def readyz() -> Response:
        """Whether photos are answered, and by which model file."""
        ready = service.is_ready
        found = Readiness(ready=ready, sha256=service.live.current.sha256, reload_problem=service.live.problem)
        return Response(found.model_dump_json(), 200 if ready else 503, media_type=_JSON)

    @app.get("/metrics", dependencies=needed, response_class=Response, responses=_TEXT | _described(keyed))
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(await service.told(), media_type=CONTENT_TYPE_LATEST)


def _asks_for_key(service: Service) -> Callable[..., Awaitable[None]]:
    async def asks_for_key(request: Request, bearer: _Bearer, key: _Key) -> None:
        owner = service.admit(key if bearer is None else bearer.credentials)
        request.scope["state"]["told"]["key"] = owner

    return asks_for_key


def _described(said: Iterable[Said]) -> dict[int | str, dict[str, Any]]:
    return {
        one.status: {"model": Problem, "description": one.what}
        | ({"headers": _LATER} if one.status in (STATUS["queue_full"], STATUS["unavailable"]) else {})
        for one in said
    }


def _bodies(config: ServeConfig) -> dict[str, Any]:
    """The bodies that ``POST /v1/classify`` takes, as OpenAPI describes them."""
    most = config.limits.photos
    photo, photos = PhotoDocument.model_json_schema(), PhotosDocument.model_json_schema()
    photo["properties"]["data"] = {"type": "string", "contentEncoding": "base64"}
    if config.allow_urls:
        photo["properties"]["url"] = {"type": "string", "maxLength": 4096}
        photo["oneOf"] = [{"required": ["data"]}, {"required": ["url"]}]
    else:
        del photo["properties"]["url"]
        photo["required"] = ["data"]
    del photos["$defs"]
    photos["properties"]["photos"] |= {"items": photo, "maxItems": most}
    file = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "properties": {"photos": {"type": "array", "items": file, "minItems": 1, "maxItems": most}},
        "required": ["photos"],
        "additionalProperties": False,
    }
    content = {"multipart/form-data": form, _JSON: photos, "image/*": file, "application/octet-stream": file}
    return {"required": True, "content": {kind: {"schema": schema} for kind, schema in content.items()}}


def _problem(kind: str, error: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(Problem(kind=kind, error=error).model_dump(), STATUS[kind], headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    request.scope["state"]["told"]["problem"] = error.kind
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.kind == "unauthorised":
        headers["WWW-Authenticate"] = "Bearer"
    return _problem(error.kind, str(error), headers)


async def _no_such_query(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    request.scope["state"]["told"]["problem"] = "malformed"
    problem = error.errors()[0]
    return _problem("malformed", f"{'.'.join(map(str, problem['loc']))[:80]}: {problem['msg'][:200]}")


async def _no_endpoint(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == STATUS["wrong_method"]:
        return _problem("wrong_method", f"{request.scope['path'][:80]} takes another method", dict(error.headers or {}))
    return _problem("not_found", "no such endpoint: /openapi.json lists those that there are")


async def _gone(request: Request, _error: Exception) -> Response:
    request.scope["state"]["told"]["problem"] = "gone"
    return _problem("malformed", "the client went away")  # nobody reads it


async def _failed(_request: Request, _error: Exception) -> Response:
    return _problem("failed", "a bug, or the machine said no: the service's log says more")
