"""``kramar review`` as a process: its address, its end, and what it says of learning."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx2
import pytest

import kramar
from desks import put_queue
from kramar.reviewing.database import shown
from shell import complaint, ended_well
from shell import kramar as run_kramar


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return put_queue(tmp_path / "run", 3).model


def test_it_is_at_its_address_until_it_is_told_to_end(model: Path) -> None:
    with ended_well(["review", model]) as address:
        assert httpx2.get(address).text.startswith("<!DOCTYPE html>")
        claimed = httpx2.post(f"{address}/v1/claims", json={"reviewer": "Ann", "most": 2}).json()
        assert len(claimed["items"]) == 2
        assert httpx2.get(f"{address}/v1/desk").json() == {"reviewer": "", "learn": f"kramar learn {model}"}


def test_another_database_is_named_where_one_learns(model: Path) -> None:
    elsewhere = model.with_name("its place.sqlite")
    shutil.move(model.with_name("review.sqlite"), elsewhere)
    with ended_well(["review", model, "--database", elsewhere]) as address:
        learn = httpx2.get(f"{address}/v1/desk").json()["learn"]
    assert learn == f"kramar learn {model} --database '{elsewhere}'"


def test_a_password_is_not_shown() -> None:
    assert shown("postgresql://ann:secret@host/shop") == "postgresql://ann:***@host/shop"
    assert shown("review.sqlite") == "review.sqlite"


def test_a_port_that_somebody_has(model: Path) -> None:
    with ended_well(["review", model]) as address:
        port = address.rpartition(":")[2]
        said = complaint(run_kramar("review", model, "--port", port), 2)
        assert said.startswith(f"--port: 127.0.0.1:{port} cannot be had")


def test_python_has_it_too(model: Path) -> None:
    with pytest.raises(kramar.InputError, match="no such review queue"):
        kramar.review(model, database=str(model.with_name("none.sqlite")))
