import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kramar import config
from kramar.config import (
    DEFAULT_BUDGET,
    LARGEST_SEED,
    TrainConfig,
    cache_folder,
    cores,
    parse_duration,
    parse_seed,
    whole_number,
)
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
    [
        ({"budget": 0}, "--budget: expected more"),
        ({"budget": -1}, "--budget"),
        ({"budget": float("nan")}, "--budget"),
        ({"budget": float("inf")}, "--budget"),
        ({"seed": -1}, "--seed: expected a whole number from 0 to 4294967295, found -1"),
        ({"seed": 1.0}, "--seed: expected a whole number from 0 to 4294967295, found 1.0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["0", 0, " 7 ", np.int64(7), LARGEST_SEED])
def test_seeds(given: object) -> None:
    seed = parse_seed(given)
    assert type(seed) is int
    assert seed == int(given)  # type: ignore[call-overload]


@pytest.mark.parametrize("given", ["", "seven", "1.5", "1e3", "-1", None, 1.5, LARGEST_SEED + 1])
def test_other_seeds_are_refused(given: object) -> None:
    with pytest.raises(InputError, match="--seed: expected a whole number from 0 to 4294967295, found ") as raised:
        parse_seed(given)
    assert str(raised.value).endswith(repr(given))


def test_a_whole_number_without_a_largest_one() -> None:
    assert whole_number("10000000000", "--top", 1) == 10**10
    with pytest.raises(InputError, match="--top: expected a whole number from 1, found '0'"):
        whole_number("0", "--top", 1)


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


@pytest.mark.parametrize(
    ("files", "seconds"),
    [
        ({}, math.inf),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
    ],
)
def test_a_container_s_quota_counts(files: dict[str, str], seconds: float, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert config._quota(tmp_path) == seconds


def test_a_part_of_a_core_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_quota", lambda _: 0.2)
    assert cores() == 1
