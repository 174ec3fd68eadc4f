"""What a review desk shows of the queue: second opinions, the history with names, and where photos are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from doubts import CLASSES, SOURCE, doubt
from kramar.errors import PhotoError, ReviewError
from kramar.reviewing import adding, findings, items
from kramar.reviewing.database import Database
from kramar.reviewing.queue import Queue
from kramar.reviewing.records import ACCEPT, BAD_PHOTO, Reviewed

PLACE = Path("/photos/1.jpg")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    given = [doubt(1, path=PLACE, content=b"one"), doubt(2), doubt(3)]
    adding.add(opened, SOURCE, given, datetime.now(UTC), keep_days=1)
    yield opened
    opened.close()


def test_second_opinions_and_who_decided(database: Database) -> None:
    queue = Queue(database)
    claimed = queue.claim("Ann", 3)
    made = [queue.decide(one.id, "Ann", ACCEPT) for one in claimed[:2]]
    assert items.seconds(database, "Ann", 9) == []
    assert items.count_seconds(database, "Ben") == 2
    # The latest first; those with a second opinion last.
    assert [one.id for one in items.seconds(database, "Ben", 9)] == [claimed[1].id, claimed[0].id]
    queue.decide(claimed[1].id, "Ben", BAD_PHOTO, second=True)
    assert [one.id for one in items.seconds(database, "Cat", 9)] == [claimed[0].id, claimed[1].id]
    assert findings.by_reviewer(database) == [Reviewed(reviewer="Ann", decided=2), Reviewed(reviewer="Ben", decided=1)]
    queue.undo(made[0].id, "Ann")
    assert not items.is_decided_by_any(database, claimed[0].id)
    assert items.is_decided_by_any(database, claimed[1].id)
    entries = findings.entries(database, 3)
    assert [(one.reviewer, one.kind, one.image) for one in entries] == [
        ("Ann", "undo", claimed[0].image), ("Ben", BAD_PHOTO, claimed[1].image), ("Ann", ACCEPT, claimed[1].image)
    ]  # fmt: skip
    (first,) = findings.entries(database, 9, before=entries[-1].id)
    assert (first.predicted, first.stands) == ("apple", False)


def test_where_a_photo_is_and_what_was_said_of_it(database: Database) -> None:
    ids = {one.image: one.id for one in Queue(database).claim("Ann", 3)}
    place = items.place(database, ids["1.jpg"])
    assert (place.content, place.path, place.sha256) == (b"one", PLACE, doubt(1).sha256)
    assert items.place(database, ids["2.jpg"]).path is None
    found = items.item(database, ids["2.jpg"])
    assert (found.image, found.label, found.until) == ("2.jpg", "apple", None)
    for look in (items.place, items.item):
        with pytest.raises(ReviewError, match="there is none such in the queue"):
            look(database, 99)


def test_bytes_are_those_that_the_model_saw_or_none(tmp_path: Path) -> None:
    kept, file = b"kept", tmp_path / "1.jpg"
    file.write_bytes(b"file")
    sha256 = hashlib.sha256(kept).hexdigest()
    # What was kept is there also where the file is another one by now.
    assert items.Place(sha256, kept, file).read() == kept
    assert items.Place(hashlib.sha256(b"file").hexdigest(), None, file).read() == b"file"
    for place, kind, where in (
        (items.Place(sha256, None, file), "replaced", str(file)),
        (items.Place(sha256, b"other", file), "replaced", "its kept bytes"),
        (items.Place(sha256, None, tmp_path / "2.jpg"), "gone", f"{tmp_path / '2.jpg'}: no such file"),
        (items.Place(sha256, None, tmp_path), "unreadable", str(tmp_path)),
        (items.Place(sha256, None, None), "gone", "it was no file"),
    ):
        with pytest.raises(PhotoError) as told:
            place.read()
        assert (told.value.kind, where in str(told.value)) == (kind, True)


def test_what_models_know(database: Database) -> None:
    (known,) = findings.models(database)
    assert (known.model, {one.label: one.category for one in known.classes}) == (SOURCE.sha256, CLASSES)
