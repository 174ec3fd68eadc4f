"""Desks for the tests: a queue of drawn photos, in this process or behind a port of this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from doubts import SOURCE, doubt
from drawn import encoded, picture
from kramar.desk.app import create_app
from kramar.desk.settings import DeskConfig
from kramar.reviewing import adding
from kramar.reviewing.database import Database
from kramar.reviewing.records import DOUBTFUL, SPOT_CHECK, Doubt
from kramar.serving.server import uvicorn_config
from served import behind_port

KEYS = {"Olha": "olha's key", "Ivan": "ivan's key"}


def photo_of(number: int, folder: Path, **more: Any) -> Doubt:
    """The ``number``-th photo, a file of ``folder``."""
    path = folder / f"{number}.jpg"
    path.write_bytes(encoded(picture(64, 48, number), "JPEG"))
    found = doubt(number, path=path, **more)
    return Doubt(hashlib.sha256(path.read_bytes()).hexdigest(), found.prediction, found.embedding, found.reason, path)


def put_queue(folder: Path, photos: int, checks: Sequence[int] = ()) -> DeskConfig:
    """A queue of so many photos in ``folder``, of which ``checks`` are spot checks; nothing more."""
    (folder / "photos").mkdir(parents=True)
    found = [
        photo_of(number, folder / "photos", reason=SPOT_CHECK if number in checks else DOUBTFUL)
        for number in range(photos)
    ]
    database = Database(str(folder / "review.sqlite"))
    adding.add(database, SOURCE, found, datetime.now(UTC))
    database.close()
    (folder / "model.onnx").write_bytes(b"a model")
    return DeskConfig(str(folder / "review.sqlite"), folder / "model.onnx", "kramar learn run")


def put_keys(path: Path) -> Path:
    """A file with KEYS."""
    path.write_text("".join(f"{name}:{hashlib.sha256(key.encode()).hexdigest()}\n" for name, key in KEYS.items()))
    return path


class Desk(TestClient):
    """A client; `tell` is a request of the page, for a reviewer."""

    def tell(self, address: str, reviewer: str = "Ann", **given: object) -> Any:
        """The answer to a POST."""
        return self.post(f"/v1/{address}", json={"reviewer": reviewer, **given})

    def claim(self, reviewer: str = "Ann", most: int = 12, **given: object) -> list[dict[str, Any]]:
        """The photos that ``reviewer`` gets."""
        found: list[dict[str, Any]] = self.tell("claims", reviewer, most=most, **given).json()["items"]
        return found


@contextmanager
def inside(config: DeskConfig) -> Iterator[Desk]:
    """A client of the desk in this process; an answer that its description lacks fails the test."""
    with Desk(create_app(config), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        description = client.get("/openapi.json").json()

        def is_described(answer: Any) -> None:
            path = answer.request.url.path
            path = "/v1/photos/{item}" if path.startswith("/v1/photos/") else path
            endpoint = description["paths"].get(path, {}).get(answer.request.method.lower())
            if endpoint is not None:
                assert str(answer.status_code) in endpoint["responses"], (path, answer.status_code, answer.text)

        client.event_hooks["response"].append(is_described)
        yield client


@contextmanager
def listening(config: DeskConfig) -> Iterator[str]:
    """The desk behind a port of this machine, as long as the block lasts; its address."""
    with behind_port(uvicorn_config(create_app(config), 2)) as (host, port):
        yield f"http://{host}:{port}/"
