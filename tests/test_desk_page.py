"""The desk's page: its own files and those that it shares, whole, and the same in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from desks import Desk, inside, put_queue
from kramar.desk.page import SITE, files
from sites import speaks_both_languages, strings, whole_site

FILES = {path.name: path for path in files()}
MODULES = {name: path.read_text(encoding="utf-8") for name, path in FILES.items() if name.endswith(".js")}
DOCUMENT = (SITE / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with inside(put_queue(tmp_path_factory.mktemp("desk") / "run", 1)) as client:
        yield client


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_is_sent_as_the_services_page_is(desk: Desk, name: str) -> None:
    answer = desk.get("/" if name == "index.html" else f"/page/{name}")
    assert (answer.status_code, answer.content) == (200, FILES[name].read_bytes())
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_file_takes_anothers_place() -> None:
    assert len(files()) == len(FILES)


def test_it_is_whole_and_loads_only_what_is_there() -> None:
    whole_site(DOCUMENT, MODULES, {"main.js", "style.css", "desk.css", "icon.svg"}, frozenset({"history-more"}))


def test_both_languages_say_the_same_things() -> None:
    speaks_both_languages(MODULES["strings.js"])


def test_every_text_is_used_and_there() -> None:
    code = DOCUMENT + "".join(text for name, text in MODULES.items() if name != "strings.js")
    texts = set(strings(MODULES["strings.js"])["en"])
    assert texts <= set(re.findall(r"""["'](\w+)["']""", code)) | {"modeNew", "modeSecond"}
    said = set(re.findall(r"""\bsay\("(\w+)\"""", code)) | set(re.findall(r'data-(?:say|label)="(\w+)"', code))
    assert said <= texts


def test_colours_are_those_of_the_services_page() -> None:
    own = (SITE / "desk.css").read_text(encoding="utf-8")
    shared = Path(FILES["style.css"]).read_text(encoding="utf-8")
    assert set(re.findall(r"var\((--[a-z-]+)", own)) <= set(re.findall(r"^ +(--[a-z-]+):", shared, re.MULTILINE))
    assert "#" not in re.sub(r"#[a-z-]+(?=[\s:,.{\[)>])", "", own), "no colours of its own"
