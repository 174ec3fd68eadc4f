"""The page's files: whole, cached well, from this service alone, and the same in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import kramar.serving.page
from kramar.serving.settings import ServeConfig
from served import inside, model_file
from sites import speaks_both_languages, strings, whole_site

SITE = Path(kramar.serving.page.__file__).with_name("site")
FILES = sorted(path.name for path in SITE.iterdir())
MODULES = {name: (SITE / name).read_text(encoding="utf-8") for name in FILES if name.endswith(".js")}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("model")
    (folder / "keys.txt").write_text("shop:" + "0" * 64)
    with inside(ServeConfig(model_file(folder / "model.onnx"), keys=folder / "keys.txt")) as client:
        yield client


def address(name: str) -> str:
    return "/" if name == "index.html" else f"/page/{name}"


@pytest.mark.parametrize("name", FILES)
def test_a_file_needs_no_key_and_is_asked_for_once(client: TestClient, name: str) -> None:
    answer = client.get(address(name))
    assert (answer.status_code, answer.content) == (200, (SITE / name).read_bytes())
    kind = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
    assert answer.headers["content-type"] == kind.get(name.rpartition(".")[2], "text/javascript; charset=utf-8")
    assert answer.headers["cache-control"] == "no-cache"
    tag = answer.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get(address(name), headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(address(name), headers={"If-None-Match": '"other"'}).status_code == 200
    head = client.head(address(name))
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", tag)


@pytest.mark.parametrize("name", FILES)
def test_its_policy_lets_in_nothing_from_elsewhere(client: TestClient, name: str) -> None:
    headers = client.get(address(name)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"


def test_answers_about_photos_are_still_not_stored(client: TestClient) -> None:
    assert client.get("/readyz").headers["cache-control"] == "no-store"
    assert client.get("/v1/model").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/page/", "/page", "/page/index.html", "/page/none.js", "/page/../app.py"])
def test_there_is_nothing_else(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_page_is_no_endpoint(client: TestClient) -> None:
    assert not any("page" in path or path == "/" for path in client.get("/openapi.json").json()["paths"])
    assert client.post("/").status_code == 405


def test_the_document_is_whole_and_loads_only_what_is_there() -> None:
    text = (SITE / "index.html").read_text(encoding="utf-8")
    whole_site(text, MODULES, {"main.js", "style.css", "icon.svg"}, frozenset({"detail-title"}))


def test_both_languages_say_the_same_things() -> None:
    speaks_both_languages(MODULES["strings.js"])


def test_every_text_is_used() -> None:
    code = "".join(text for name, text in MODULES.items() if name != "strings.js")
    code += (SITE / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r"""["'](\w+)["']""", code)) | {f"means{name}" for name in re.findall(r'"(\w+)"', code)}
    assert set(strings(MODULES["strings.js"])["en"]) <= named


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_named_in_both_schemes(scheme: str) -> None:
    text = (SITE / "style.css").read_text(encoding="utf-8")
    light, _, dark = text.partition("@media (prefers-color-scheme: dark)")
    own = light if scheme == "light" else dark[: dark.index("\n}")]
    assert set(re.findall(r"var\((--[a-z-]+)", text)) - {"--v"} == set(
        re.findall(r"^ +(--[a-z-]+):", own, re.MULTILINE)
    )
