import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kramar.config import DEFAULT_BUDGET, TrainConfig, cache_folder, cores, parse_columns, parse_duration
from kramar.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        (" 2D ", 172_800),
        ("90", 90),
        ("0.5", 0.5),
        ("1d2h3m4.5s", 93_784.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "10x", "-5m", "m", "1h30", "10 minutes", "1,5h", "1e3", "nan", "inf", "."]
)
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--limit: expected a duration such as 90s, 10m or 1h30m") as raised:
        parse_duration(text, "--limit")
    assert repr(text) in str(raised.value)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 30), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_units_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    assert (
        parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == 86400 * days + 3600 * hours + 60 * minutes + seconds
    )


def test_the_defaults_agree() -> None:
    assert TrainConfig().budget == parse_duration(DEFAULT_BUDGET)
    assert TrainConfig().columns is not TrainConfig().columns


@pytest.mark.parametrize(
    ("options", "message"),
    [({"budget": 0}, "--budget: expected more"), ({"budget": -1}, "--budget"), ({"seed": -1}, "--seed: expected 0")],
)
def test_impossible_options_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", {}),
        ("image=photo", {"image": "photo"}),
        (" image = photo , label = the group ,", {"image": "photo", "label": "the group"}),
        ("label=a=b", {"label": "a=b"}),
        ("image=фото,category=c,product=p,split=s", {"image": "фото", "category": "c", "product": "p", "split": "s"}),
    ],
)
def test_columns(text: str, columns: dict[str, str]) -> None:
    assert parse_columns(text) == columns


@pytest.mark.parametrize("text", ["image", "image=", "=photo", "photo=image", "image=photo,group"])
def test_other_columns_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--columns: expected pairs such as image=photo,label=group"):
        parse_columns(text)


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"KRAMAR_CACHE": "/fast/cache", "XDG_CACHE_HOME": "/xdg"}, "/fast/cache"),
        ("linux", {"KRAMAR_CACHE": "~/cache"}, "/home/ann/cache"),
        ("linux", {"KRAMAR_CACHE": "", "XDG_CACHE_HOME": "/xdg"}, "/xdg/kramar"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/home/ann/.cache/kramar"),
        ("linux", {}, "/home/ann/.cache/kramar"),
        ("darwin", {}, "/home/ann/Library/Caches/kramar"),
        ("darwin", {"KRAMAR_CACHE": "/fast/cache"}, "/fast/cache"),
        ("win32", {"LOCALAPPDATA": "/home/ann/AppData/Local"}, "/home/ann/AppData/Local/kramar/cache"),
        ("win32", {}, "/home/ann/kramar/cache"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="the paths are POSIX paths")
def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], expected: str
) -> None:
    for name in ("KRAMAR_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ann", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == Path(expected)


def test_cores_are_those_that_the_process_may_use() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
