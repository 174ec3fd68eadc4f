"""The review queue, on SQLite and on PostgreSQL: who gets which photo, and what is kept of what they decide."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from doubts import CLASSES, SOURCE, Clock, doubt
from kramar.errors import InputError, MissingExtra, OutputError, ReviewError
from kramar.reviewing import adding, findings
from kramar.reviewing import database as database_module
from kramar.reviewing.database import Database
from kramar.reviewing.queue import Queue
from kramar.reviewing.records import ACCEPT, BAD_PHOTO, CATEGORY, SPOT_CHECK, UNKNOWN_THING, Source
from kramar.reviewing.tables import Table


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(database: Database, clock: Clock) -> Queue:
    """Ten photos wait."""
    assert adding.add(database, SOURCE, [doubt(number) for number in range(10)], clock()) == 10
    return Queue(database, now=clock)


def test_the_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    with database.reading() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Table.metadata) == []


def test_a_database_is_opened_by_many_at_once(database_url: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(lambda _: Database(database_url), range(8)))
    for one in opened:
        assert findings.counts(one).waiting == 0
        one.close()


def test_a_newer_database_is_refused(database: Database, database_url: str) -> None:
    with database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InputError, match="a newer kramar made this database; upgrade"):
        Database(database_url)


def test_a_photo_is_handed_out_with_what_was_said_of_it(queue: Queue, clock: Clock) -> None:
    (item,) = queue.claim("Оля", 1)
    assert (item.label, item.probability, item.category) == ("apple", 0.6, "Fruit/apple")
    assert (item.set, item.unknown_score, item.model) == (["apple", "fig"], 0.25, SOURCE.sha256)
    assert [one.label for one in item.top] == ["apple", "fig"]
    assert item.until == clock() + queue.lease


def test_nobody_gets_what_another_has_and_a_lease_ends(queue: Queue, clock: Clock) -> None:
    first = [item.id for item in queue.claim("Ann", 6)]
    second = [item.id for item in queue.claim("Bob", 6)]
    assert (len(set(first)), len(set(second)), set(first) & set(second)) == (6, 4, set())
    # Who asks again has the same photos.
    assert {item.id for item in queue.claim("Ann", 6)} == set(first)
    assert queue.claim("Cat", 6) == []
    clock.passes(minutes=11)
    assert len(queue.claim("Cat", 10)) == 10
    queue.release("Cat")
    assert len(queue.claim("Dan", 10)) == 10


def test_a_decision_is_kept_and_the_photo_is_done(queue: Queue, clock: Clock) -> None:
    one, two, three, four = queue.claim("Ann", 4)
    queue.decide(one.id, "Ann", ACCEPT)
    queue.decide(two.id, "Ann", CATEGORY, "яблуко")
    queue.decide(three.id, "Ann", UNKNOWN_THING)
    clock.passes(minutes=1)
    queue.decide(four.id, "Ann", BAD_PHOTO)
    counts = findings.counts(queue.database)
    assert (counts.waiting, counts.decided, counts.disputed) == (6, 4, 0)
    assert {item.id for item in queue.claim("Ann", 10)}.isdisjoint({one.id, two.id, three.id, four.id})
    history = findings.entries(queue.database)
    assert [(row.kind, row.label) for row in history] == [
        (BAD_PHOTO, ""), (UNKNOWN_THING, ""), (CATEGORY, "яблуко"), (ACCEPT, "apple"),
    ]  # fmt: skip
    assert {row.reviewer for row in history} == {"Ann"}
    assert history[0].at - history[1].at == timedelta(minutes=1)
    assert [(one.kind, one.label, one.predicted) for one in findings.corrections(queue.database)] != []


def test_the_same_decision_once_more_is_one(queue: Queue) -> None:
    (item,) = queue.claim("Ann", 1)
    first = queue.decide(item.id, "Ann", ACCEPT)
    assert queue.decide(item.id, "Ann", ACCEPT) == first
    assert len(findings.entries(queue.database)) == 1


def test_whose_turn_it_is_not(queue: Queue, clock: Clock) -> None:
    (item,) = queue.claim("Ann", 1)
    with pytest.raises(ReviewError, match="Bob does not have it, Ann has it; ask for photos anew") as told:
        queue.decide(item.id, "Bob", ACCEPT)
    assert told.value.kind == "taken"
    with pytest.raises(ReviewError, match="nobody decided it") as told:
        queue.decide(item.id, "Bob", ACCEPT, second=True)
    assert told.value.kind == "undecided"
    # A lease that has ended counts until somebody else takes the photo.
    clock.passes(hours=1)
    queue.claim("Bob", 10)
    with pytest.raises(ReviewError, match="Ann does not have it, Bob has it"):
        queue.decide(item.id, "Ann", ACCEPT)
    clock.passes(hours=1)
    queue.decide(item.id, "Bob", ACCEPT)
    with pytest.raises(ReviewError, match="Bob decided it; give a second opinion") as told:
        queue.decide(item.id, "Ann", ACCEPT)
    assert told.value.kind == "decided"
    with pytest.raises(ReviewError, match="Bob decided it already; undo that first"):
        queue.decide(item.id, "Bob", UNKNOWN_THING)
    with pytest.raises(ReviewError, match="item 999: there is none such"):
        queue.decide(999, "Ann", ACCEPT)
    with pytest.raises(InputError, match="expected one of accept, category, unknown, bad photo, found 'undo'"):
        queue.decide(item.id, "Ann", "undo")
    with pytest.raises(InputError, match="reviewer: expected a name"):
        queue.claim("  ", 1)


def test_a_category_is_one_that_is_known(queue: Queue) -> None:
    (item,) = queue.claim("Ann", 1)
    with pytest.raises(ReviewError, match="category 'guava': neither the model nor a reviewer has it"):
        queue.decide(item.id, "Ann", CATEGORY, "guava")
    added = queue.add_category("guava", "Fruit/guava", "Ann")
    assert queue.add_category("guava", "Fruit/guava", "Bob").reviewer == "Ann"
    assert findings.categories(queue.database) == [added]
    assert queue.decide(item.id, "Ann", CATEGORY, "guava").label == "guava"
    # PostgreSQL has no place for the character 0.
    assert queue.add_category("a\0b", "c\0d", "Eve\0").label == "a\\0b"
    assert queue.decide(queue.claim("Bob\0", 1)[0].id, "Bob\0", CATEGORY, "a\0b").reviewer == "Bob\\0"
    with pytest.raises(InputError, match="the model has it already"):
        queue.add_category("kiwi", "Fruit/kiwi", "Ann")
    with pytest.raises(InputError, match="Ann added it as 'Fruit/guava'"):
        queue.add_category("guava", "Other/guava", "Bob")


def test_what_is_taken_back_is_to_be_decided_by_the_same_person(queue: Queue) -> None:
    (item,) = queue.claim("Ann", 1)
    made = queue.decide(item.id, "Ann", ACCEPT)
    with pytest.raises(ReviewError, match="Ann made it, not Bob") as told:
        queue.undo(made.id, "Bob")
    assert told.value.kind == "other"
    undone = queue.undo(made.id, "Ann")
    assert (undone.kind, undone.undoes) == ("undo", made.id)
    with pytest.raises(ReviewError, match="it was taken back already"):
        queue.undo(made.id, "Ann")
    with pytest.raises(ReviewError, match="there is none such to take back"):
        queue.undo(undone.id, "Ann")
    assert findings.corrections(queue.database) == []
    assert item.id in [one.id for one in queue.claim("Ann", 1)]
    queue.decide(item.id, "Ann", CATEGORY, "fig")
    (kept,) = findings.corrections(queue.database)
    assert (kept.label, kept.predicted) == ("fig", "apple")
    # Nothing of it is lost.
    assert [row.kind for row in findings.entries(queue.database)] == ["category", "undo", "accept"]


@pytest.mark.parametrize("change", ["UPDATE decisions SET label = 'fig'", "DELETE FROM decisions"])
def test_history_cannot_be_changed(queue: Queue, change: str) -> None:
    (item,) = queue.claim("Ann", 1)
    queue.decide(item.id, "Ann", ACCEPT)
    with (
        pytest.raises(OutputError, match=r"says no \(.{0,9}rows of decisions are added, never changed"),
        queue.database.writing() as one,
    ):
        one.execute(text(change))
    assert findings.entries(queue.database)[0].label == "apple"


def test_second_opinions_agree_or_keep_a_photo_from_being_learnt(queue: Queue) -> None:
    one, two = queue.claim("Ann", 2)
    for item in (one, two):
        queue.decide(item.id, "Ann", ACCEPT)
    assert findings.agreement(queue.database) is None
    # To pick the label that was suggested is to accept it.
    queue.decide(one.id, "Bob", CATEGORY, "apple", second=True)
    other = queue.decide(two.id, "Bob", CATEGORY, "kiwi", second=True)
    share = findings.agreement(queue.database)
    assert share is not None
    assert (share.value, share.n) == (0.5, 2)
    assert findings.counts(queue.database).disputed == 1
    assert [found.label for found in findings.corrections(queue.database)] == ["apple"]
    # Who changes their mind settles it.
    queue.undo(other.id, "Bob")
    assert len(findings.corrections(queue.database)) == 2
    assert two.id not in [item.id for item in queue.claim("Bob", 10)]


def test_a_photo_is_in_the_queue_once(queue: Queue, clock: Clock) -> None:
    (held,) = queue.claim("Ann", 1)
    (decided,) = [item for item in queue.claim("Ann", 2) if item.id != held.id]
    queue.decide(decided.id, "Ann", ACCEPT)
    newer = Source("c" * 64, SOURCE.body, CLASSES, None)
    again = [doubt(number, probability=0.7) for number in range(10)]
    # What is held or decided stays as it is; what waits is what the newer model says.
    assert adding.add(queue.database, newer, again, clock()) == 8
    assert findings.counts(queue.database).waiting == 9
    found = {item.id: item for item in queue.claim("Ann", 10)}
    assert sorted({item.model for item in found.values()}) == [SOURCE.sha256, newer.sha256]
    assert found[held.id].model == SOURCE.sha256


def test_bytes_are_kept_when_asked_and_for_as_long(database: Database, clock: Clock, database_url: str) -> None:
    photo = b"not really a JPEG" * 50
    adding.add(database, SOURCE, [doubt(1, content=photo), doubt(2)], clock(), keep_days=2)
    adding.add(database, SOURCE, [doubt(3, content=photo)], clock())
    queue = Queue(database, now=clock)
    for item in queue.claim("Ann", 3):
        queue.decide(item.id, "Ann", ACCEPT)
    assert [findings.content(database, one.photo) for one in findings.corrections(database)] == [photo, None, None]
    clock.passes(days=1.9)
    assert adding.forget(database, clock()) == 0
    clock.passes(days=0.2)
    assert adding.forget(database, clock()) == 1
    assert [findings.content(database, one.photo) for one in findings.corrections(database)] == [None] * 3
    if database_url.startswith("sqlite"):
        with database.writing() as session:
            session.connection().exec_driver_sql("COMMIT")
            session.connection().exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            session.connection().exec_driver_sql("BEGIN")
        assert b"not really" not in Path(database.name).read_bytes()


def test_where_a_file_was_is_known_whatever_its_name(database: Database, clock: Clock) -> None:
    odd = Path("/photos/caf\udce9 у кошику.jpg")
    adding.add(database, SOURCE, [doubt(1, path=odd)], clock())
    queue = Queue(database, now=clock)
    (item,) = queue.claim("Ann", 1)
    queue.decide(item.id, "Ann", ACCEPT)
    assert [one.path for one in findings.corrections(database)] == [odd]


def test_spot_checks_come_first_in_the_order_in_which_they_came(database: Database, clock: Clock) -> None:
    adding.add(database, SOURCE, [doubt(1), doubt(2, 0.99, SPOT_CHECK), doubt(3), doubt(4, 0.95, SPOT_CHECK)], clock())
    queue = Queue(database, now=clock)
    assert [item.image for item in queue.claim("Ann", 3)][:2] == ["2.jpg", "4.jpg"]


def test_reviewers_at_once_decide_each_photo_once(database: Database, clock: Clock) -> None:
    adding.add(database, SOURCE, [doubt(number) for number in range(120)], clock())
    done: dict[str, list[int]] = {}
    start = threading.Barrier(4)

    def review(name: str) -> None:
        queue = Queue(database, strategy="uncertain")
        start.wait()
        mine = done.setdefault(name, [])
        while items := queue.claim(name, 5):
            for item in items:
                queue.decide(item.id, name, ACCEPT)
                mine.append(item.id)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(review, ["Ann", "Bob", "Cat", "Dan"]))
    decided = [id_ for mine in done.values() for id_ in mine]
    assert len(decided) == len(set(decided)) == 120
    assert len(findings.entries(database)) == 120
    assert findings.counts(database).waiting == 0


_REVIEWER = """
import sys
from kramar.reviewing.database import Database
from kramar.reviewing.queue import Queue
queue = Queue(Database(sys.argv[1]), strategy="random")
while items := queue.claim(sys.argv[2], 3):
    for item in items:
        made = queue.decide(item.id, sys.argv[2], "accept")
        print(item.id, made.id, flush=True)
"""


def test_a_killed_desk_loses_no_decision_that_was_acknowledged(database_url: str, clock: Clock) -> None:
    opened = Database(database_url)
    adding.add(opened, SOURCE, [doubt(number) for number in range(300)], clock())
    acknowledged: list[tuple[int, int]] = []
    for kill in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", _REVIEWER, database_url, f"Ann {kill}"], stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert process.stdout is not None
        for _ in range(7 + kill):
            item, made = process.stdout.readline().split()
            acknowledged.append((int(item), int(made)))
        process.kill()
        rest = process.stdout.read().splitlines()
        process.stdout.close()
        process.wait()
        # A line that was cut short was not acknowledged.
        acknowledged += [(int(line.split()[0]), int(line.split()[1])) for line in rest[:-1]]
    kept = {row.id: row.item for row in findings.entries(opened)}
    assert all(kept.get(made) == item for item, made in acknowledged)
    assert len(set(kept.values())) == len(kept)
    opened.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("mysql://shop:secret@localhost/shop", "expected a file, sqlite:///FILE or postgresql"),
        ("sqlite://", "expected a file"),
        ("nothing://at-all", "expected a file"),
        ("/nowhere/at/all/review.sqlite", "no such folder as /nowhere/at/all; make it"),
    ],
)
def test_a_database_that_cannot_be(given: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as told:
        Database(given)
    assert "secret" not in str(told.value)


def test_a_driver_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pg8000", None)
    with pytest.raises(MissingExtra, match=r"needs the 'serve' extra: pip install 'kramar\[serve\]'") as told:
        Database("postgresql://shop:secret@127.0.0.1/review")
    assert "secret" not in str(told.value)


def test_a_server_that_is_not_there_is_told(postgres: str) -> None:
    with pytest.raises(OutputError, match="the review database says no") as told:
        Database(postgres.replace("kramar@", "shop:secret@").rpartition(":")[0] + ":1/review")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "patience", "limits"),
    [
        ("postgresql://shop@127.0.0.1/review", 0.5, {"timeout": 0.5}),
        ("postgresql+psycopg://shop@127.0.0.1/review", 0.5, {"connect_timeout": 1}),
        ("postgresql+psycopg://shop@127.0.0.1/review", None, {}),
    ],
)
def test_each_driver_is_told_how_long_to_wait(
    monkeypatch: pytest.MonkeyPatch, given: str, patience: float | None, limits: dict[str, float]
) -> None:
    found = {}

    def made(_url: object, **options: object) -> None:
        found.update(options)
        raise ModuleNotFoundError

    monkeypatch.setattr(database_module, "create_engine", made)
    with pytest.raises(MissingExtra):
        Database(given, **({} if patience is None else {"patience": patience}))
    assert found["connect_args"] == limits


def test_another_programs_file_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"PK" * 4096)
    with pytest.raises(OutputError, match=r"the review database says no \(file is not a database\)"):
        Database(str(tmp_path / "photos.zip"))
