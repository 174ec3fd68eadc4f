"""``kramar serve --queue``: what a person is asked of, without a request that waits for the review database."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import http.client
import json
import logging
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

import kramar
from doubts import Clock
from drawn import photo
from kramar import InputError
from kramar.errors import ModelFileError
from kramar.exporting import fingerprints
from kramar.files import sha256
from kramar.reviewing import adding, choosing, findings
from kramar.reviewing.database import Database
from kramar.reviewing.live import live_precision
from kramar.reviewing.queue import Queue
from kramar.reviewing.records import ACCEPT, UNKNOWN_THING, Correction
from kramar.runtime.model import Answer
from kramar.serving import inbox, live_figures
from kramar.serving.inbox import Inbox
from kramar.serving.metrics import Metrics
from kramar.serving.settings import ReviewConfig, ServeConfig
from kramar.serving.submitted import Submitted
from model_files import tiny
from served import FORM, PHOTOS, TREES, document, form, inside, model_file, running
from shell import complaint
from shell import kramar as shell

DAYS = 30


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_file(tmp_path / "model.onnx", maps=True)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "review.sqlite")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits in tests."""
    monkeypatch.setattr(live_figures, "_FRESH", 0.0)
    monkeypatch.setattr(live_figures, "_WAITED", 30.0)
    monkeypatch.setattr(inbox, "_PATIENCE", 0.05)


def review(
    url: str, spot_check: float = 0.0, retry: float = 0.02, held: int = 10**8, last: float = 30.0
) -> ReviewConfig:
    return ReviewConfig(url, DAYS, spot_check, held, retry, last)


def until(done: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.005)


def ask(client: TestClient, *photos: bytes | tuple[str, bytes]) -> list[dict[str, object]]:
    answer = client.post("/v1/classify", content=form(*photos), headers={"Content-Type": FORM})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["predictions"]
    return found


def figure(client: TestClient, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def reviewed(client: TestClient, result: str) -> float:
    return figure(client, f'kramar_review_photos_total{{result="{result}"}}')


def decide_all(database: Database, kind: str = ACCEPT) -> list[Correction]:
    queue = Queue(database)
    for item in queue.claim("Ann", 1000):
        queue.decide(item.id, "Ann", kind)
    return findings.corrections(database)


def opened(url: str) -> contextlib.closing[Database]:
    return closing(Database(url))


@contextlib.contextmanager
def locked(url: str) -> Iterator[None]:
    """Somebody else writes into the database, and does not come to an end."""
    with closing(sqlite3.connect(url, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


# What is queued


@pytest.mark.parametrize(
    ("content", "kind", "names"),
    [
        (form(("a.png", PHOTOS[0]), ("b.png", PHOTOS[2]), ("c.png", PHOTOS[1])), FORM, ["a.png", "c.png"]),
        (document(PHOTOS[0], PHOTOS[2], PHOTOS[1]), "application/json", ["", ""]),
        (PHOTOS[0], "image/png", [""]),
    ],
    ids=["form", "json", "body"],
)
def test_what_is_not_auto_is_asked(model: Path, database_url: str, content: bytes, kind: str, names: list[str]) -> None:
    with inside(ServeConfig(model, review=review(database_url))) as client:
        for heat in ("", "?heat_map=true"):  # the same photos once more
            answer = client.post(f"/v1/classify{heat}", content=content, headers={"Content-Type": kind})
            rows = answer.json()["predictions"]
        until(lambda: reviewed(client, "queued") + reviewed(client, "known") == 2 * len(names))
        assert (reviewed(client, "known"), reviewed(client, "dropped")) == (len(names), 0)
        assert figure(client, "kramar_review_waiting_photos") == len(names)
    doubtful = [row for row in rows if row["decision"] != "auto"]
    assert len(doubtful) == len(names)
    with opened(database_url) as database:
        found = decide_all(database)
        assert sorted(one.name for one in found) == names
        for one in found:
            content_ = findings.content(database, one.photo)
            assert content_ in PHOTOS
            assert one.sha256 == hashlib.sha256(content_ or b"").hexdigest()
            assert (one.model, one.body, one.path) == (sha256(model), fingerprints.body(model), None)
            answered = kramar.load(model)
            (seen,) = answered.outputs(answered.pixels(content_ or b"")[None], ["embedding"])
            np.testing.assert_allclose(one.embedding, seen[0], rtol=2e-3)
            assert one.predicted in [row["label"] for row in doubtful]


def test_photos_that_cannot_be_read_are_not_asked(model: Path, url: str) -> None:
    with inside(ServeConfig(model, review=review(url))) as client:
        rows = ask(client, PHOTOS[0], b"no photo")
        assert rows[1]["error"]
        assert client.post("/v1/classify", content=b"no", headers={"Content-Type": "image/png"}).status_code == 422
        until(lambda: reviewed(client, "queued") == 1)
    with opened(url) as database:
        assert findings.counts(database).waiting == 1


def test_the_same_share_is_checked_as_by_classify(model: Path, tmp_path: Path, url: str) -> None:
    model_file(model, sharpness=0.5, maps=True)
    photos = [photo(seed) for seed in range(40)]
    (tmp_path / "new").mkdir()
    for number, data in enumerate(photos):
        (tmp_path / "new" / f"{number}.png").write_bytes(data)
    rows = list(kramar.classify(model, tmp_path / "new", queue=True, database=url, spot_check=0.5))
    auto = sum(row.decision == "auto" for row in rows)
    other = str(tmp_path / "other.sqlite")
    with inside(ServeConfig(model, review=review(other, 0.5))) as client:
        ask(client, *photos[:20])
        ask(client, *photos[20:])
    with opened(url) as one, opened(other) as two:
        checks = live_precision(one, sha256(model)).waiting
        assert 0.2 * auto < checks < 0.8 * auto
        assert live_precision(two, sha256(model)).waiting == checks
        assert {row.sha256 for row in decide_all(one)} == {row.sha256 for row in decide_all(two)}


def test_a_photos_bytes_are_forgotten_although_nothing_comes(model: Path, url: str) -> None:
    clock, source = Clock(), choosing.source(kramar.load(model), sha256(model))
    made = Inbox(ReviewConfig(url, DAYS, forget=0.01), Metrics(), clock)
    said = kramar.load(model).classify([PHOTOS[0]])[0]
    made.start()
    made.see(source, Submitted("", PHOTOS[0]), "c" * 64, said, Answer(np.zeros(3), embedding=np.ones(3, np.float32)))
    with opened(url) as database:
        until(lambda: findings.counts(database).waiting == 1)
        (one,) = decide_all(database)
        clock.passes(days=DAYS - 0.1)
        time.sleep(0.05)
        assert findings.content(database, one.photo) == PHOTOS[0]
        clock.passes(days=0.2)
        until(lambda: findings.content(database, one.photo) is None)
    made.close()


def test_a_name_that_a_database_cannot_hold(model: Path, database_url: str) -> None:
    body = {"photos": [{"image": "a\0b", "data": json.loads(document(PHOTOS[0]))["photos"][0]["data"]}]}
    with inside(ServeConfig(model, review=review(database_url))) as client:
        answer = client.post("/v1/classify", json=body)
        assert answer.json()["predictions"][0]["image"] == "a\0b"
        until(lambda: reviewed(client, "queued") == 1)
    with opened(database_url) as database:
        assert [one.name for one in decide_all(database)] == ["a\\0b"]


# Where the database says no


def test_a_locked_database_keeps_no_request_waiting(model: Path, url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kramar.serving")
    room = 3 * (len(PHOTOS[0]) + 6000)
    with inside(ServeConfig(model, review=review(url, held=room))) as client:
        ask(client, PHOTOS[0])
        until(lambda: reviewed(client, "queued") == 1)
        with locked(url):
            for seed in range(100, 140):
                ask(client, photo(seed))
            dropped = reviewed(client, "dropped")
            assert dropped > 20
            until(lambda: "does not take them" in caplog.text)
        until(lambda: reviewed(client, "queued") >= 3)
        ask(client, photo(200))
        ask(client, photo(202))
        until(lambda: "written again" in caplog.text)
        assert reviewed(client, "dropped") == dropped
    said = [record.message for record in caplog.records if record.name == "kramar.serving.inbox"]
    assert said.count("photos for review wait: the database does not take them") == 1
    assert said.count("photos are not queued for review") == 1


def test_a_database_that_is_away_comes_back(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    url = str(folder / "review.sqlite")
    with inside(ServeConfig(model, review=review(url))) as client:
        ask(client, *PHOTOS)
        assert figure(client, "kramar_review_up") == 0
        assert client.get("/readyz").status_code == 200
        assert "kramar_review_waiting_photos " not in client.get("/metrics").text
        folder.mkdir()
        until(lambda: reviewed(client, "queued") == 10)
        assert (figure(client, "kramar_review_up"), figure(client, "kramar_review_waiting_photos")) == (1, 10)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # pg8000's, of connections that never began
def test_a_server_that_does_not_answer_is_not_waited_for(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_figures, "_PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://shop@127.0.0.1:{silent.getsockname()[1]}/review"
        with inside(ServeConfig(model, review=review(url, last=0.2))) as client:
            ask(client, *PHOTOS)
            assert figure(client, "kramar_review_up") == 0
    # The thread ends with its try.
    until(lambda: all(one.name != "kramar-review" for one in threading.enumerate()))
    gc.collect()


def test_a_photo_that_cannot_be_written_keeps_no_other_from_it(model: Path, url: str) -> None:
    source = choosing.source(kramar.load(model), sha256(model))
    said = kramar.load(model).classify([PHOTOS[0]])[0]
    answer = Answer(np.zeros(3), embedding=np.ones(3, np.float32))
    with opened(url) as database, database.writing() as session:
        session.connection().exec_driver_sql(
            "CREATE TRIGGER no BEFORE INSERT ON items WHEN NEW.label = 'never' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    made = Inbox(review(url, last=0.3), metrics := Metrics())
    for number in range(6):
        one = said.model_copy(update={"label": "never"} if number == 0 else {})
        made.see(source, Submitted("", b"x"), f"{number:064}", one, answer)
    made.start()
    until(lambda: 'kramar_review_photos_total{result="queued"} 5.0' in metrics.text().decode())
    made.close()
    assert 'kramar_review_photos_total{result="dropped"} 1.0' in metrics.text().decode()


def test_a_bug_in_forgetting_costs_no_photo(
    model: Path, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_database: Database, _now: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(adding, "forget", broken)
    with inside(ServeConfig(model, review=review(url))) as client:
        until(lambda: "a bug in writing photos" in caplog.text)
        monkeypatch.undo()
        ask(client, *PHOTOS)
        until(lambda: reviewed(client, "queued") == 10)
        assert reviewed(client, "dropped") == 0
    assert caplog.text.count("a bug in writing photos") == 1
    assert "are not queued" not in caplog.text


def test_what_is_left_is_written_when_it_ends(model: Path, url: str) -> None:
    with opened(url):
        pass
    with inside(ServeConfig(model, review=review(url, retry=3600))) as client, contextlib.ExitStack() as other:
        other.enter_context(locked(url))
        ask(client, *PHOTOS)
        time.sleep(0.1)  # by now it waits for its next try
        threading.Timer(0.3, other.pop_all().close).start()
    with opened(url) as database:
        assert findings.counts(database).waiting == 10


def test_what_cannot_be_written_to_the_end_is_counted(model: Path, url: str, caplog: pytest.LogCaptureFixture) -> None:
    with opened(url):
        pass
    made = Inbox(review(url, last=0.3), metrics := Metrics())
    source = choosing.source(kramar.load(model), sha256(model))
    said = kramar.load(model).classify([PHOTOS[0]])[0]
    made.start()
    with locked(url):
        made.see(source, Submitted("", b"x"), "c" * 64, said, Answer(np.zeros(3), embedding=np.ones(3, np.float32)))
        made.close()
    assert 'kramar_review_photos_total{result="dropped"} 1.0' in metrics.text().decode()
    assert "photos are not queued for review" in caplog.text


# The model file


def test_a_row_carries_the_model_that_said_it(model: Path, url: str, caplog: pytest.LogCaptureFixture) -> None:
    first = sha256(model)
    with inside(ServeConfig(model, poll=0.01, review=review(url))) as client:
        ask(client, PHOTOS[0])
        until(lambda: reviewed(client, "queued") == 1)
        model_file(model, TREES, maps=True)
        second = sha256(model)
        until(lambda: client.get("/readyz").json()["sha256"] == second)
        ask(client, PHOTOS[1])
        until(lambda: reviewed(client, "queued") == 2)
        # It answers all the same, and says so.
        model_file(model, TREES)
        until(lambda: client.get("/readyz").json()["sha256"] == sha256(model))
        ask(client, PHOTOS[3])
        assert figure(client, "kramar_review_up") == 0
        assert "photos of the new model file are not queued for review" in caplog.text
        model_file(model, TREES, sharpness=0.06, maps=True)
        until(lambda: client.get("/readyz").json()["sha256"] == sha256(model))
        assert figure(client, "kramar_review_up") == 1
    with opened(url) as database:
        assert {one.sha256: one.model for one in decide_all(database)} == {
            hashlib.sha256(PHOTOS[0]).hexdigest(): first,
            hashlib.sha256(PHOTOS[1]).hexdigest(): second,
        }


def test_a_model_whose_photos_cannot_be_reviewed_is_refused(model: Path, tmp_path: Path, url: str) -> None:
    with pytest.raises(ModelFileError, match="gives no embedding, which reviews and learning need"):
        kramar.serve(model_file(tmp_path / "blind.onnx"), queue=True, keep_days=DAYS)
    undecided = kramar.load(model).card.model_copy(update={"decisions": None})
    tiny(model, undecided.model_dump_json())
    with pytest.raises(InputError, match="it has no decisions; fit them with kramar decide"):
        kramar.serve(model, queue=True, database=url, keep_days=DAYS)


# What Prometheus is told


def test_the_live_precision_and_its_alarm(model: Path, url: str) -> None:
    model_file(model, sharpness=3.0, maps=True)
    with inside(ServeConfig(model, review=review(url, 0.999))) as client:
        rows = ask(client, *PHOTOS)
        assert all(row["decision"] == "auto" for row in rows)
        until(lambda: reviewed(client, "queued") == 12)
        text = client.get("/metrics").text
        assert 'kramar_auto_precision{bound="value"}' not in text
        assert (figure(client, "kramar_auto_checks"), figure(client, "kramar_auto_alarm")) == (0, 0)
        assert figure(client, "kramar_auto_precision_target") == 0.98
        with opened(url) as database:
            queue = Queue(database)
            for item in queue.claim("Ann", 4):
                queue.decide(item.id, "Ann", ACCEPT)
            assert figure(client, 'kramar_auto_precision{bound="value"}') == 1
            decide_all(database, UNKNOWN_THING)
            live = live_precision(database, sha256(model))
        assert live.precision is not None
        for bound in ("value", "low", "high"):
            assert figure(client, f'kramar_auto_precision{{bound="{bound}"}}') == getattr(live.precision, bound)
        assert (figure(client, "kramar_auto_checks"), figure(client, "kramar_auto_alarm")) == (12, 1)
        assert figure(client, "kramar_review_waiting_photos") == 0


def test_without_a_queue_there_is_nothing_of_it(model: Path) -> None:
    with inside(ServeConfig(model)) as client:
        ask(client, *PHOTOS)
        assert "kramar_review" not in client.get("/metrics").text
    assert not list(model.parent.glob("*.sqlite"))


def test_a_scrape_waits_for_a_moment_only(model: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    may = threading.Event()

    def slow(database: Database, sha: str) -> object:
        may.wait()
        return live_precision(database, sha)

    monkeypatch.setattr(live_figures, "live_precision", slow)
    monkeypatch.setattr(live_figures, "_WAITED", 0.01)
    with inside(ServeConfig(model, review=review(url))) as client:
        for _ in range(3):
            assert figure(client, "kramar_review_up") == 0
        may.set()
        until(lambda: figure(client, "kramar_review_up") == 1)


def test_a_bug_in_its_figures_keeps_no_other_from_being_told(
    model: Path, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_database: Database, _sha: str) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(live_figures, "live_precision", broken)
    with inside(ServeConfig(model, review=review(url))) as client:
        assert figure(client, "kramar_review_up") == 0
        assert figure(client, "kramar_queue_photos") == 0
        until(lambda: "the review database's figures cannot be told" in caplog.text)
    assert "ZeroDivisionError" in caplog.text


# As a command


def test_two_workers_share_a_database(model: Path, tmp_path: Path, url: str) -> None:
    photos = [photo(seed) for seed in range(30)]
    asked = choosing.source(kramar.load(model), sha256(model))
    expected = {
        digest
        for data, said in zip(photos, kramar.load(model).classify(photos), strict=True)
        if choosing.reason(asked, said.decision, digest := hashlib.sha256(data).hexdigest(), 0.5)
    }

    def figures() -> str:
        with closing(http.client.HTTPConnection(*service.address, timeout=30)) as client:
            client.request("GET", "/metrics")
            return client.getresponse().read().decode()

    options = ("--workers", "2", "--queue", "--keep-days", "1", "--spot-check", "50%")
    with running(tmp_path / "serve.log", model, *options) as service:
        for data in (*photos, *photos[:10]):
            with closing(http.client.HTTPConnection(*service.address, timeout=30)) as client:
                client.request("POST", "/v1/classify", data, {"Content-Type": "image/png"})
                assert client.getresponse().status == 200
        # Either tells those of both.
        until(lambda: f'kramar_review_photos_total{{result="queued"}} {len(expected)}.0' in figures())
        until(lambda: f"kramar_review_waiting_photos {len(expected)}.0" in figures())
        assert service.end() == 0
    with opened(url) as database:
        assert {one.sha256 for one in decide_all(database)} == expected


def test_wrong_uses(model: Path, tmp_path: Path) -> None:
    said = complaint(shell("serve", model, "--queue"), 2)
    assert "a photo that comes over HTTP is nowhere else" in said
    assert "--keep-days 30" in said
    for option, value in (("--database", "x.sqlite"), ("--spot-check", "0.01"), ("--keep-days", "3")):
        said = complaint(shell("serve", model, option, value), 2)
        assert said == f"{option} is of the review queue: add --queue, or leave {option} away"
    queue = ("--queue", "--keep-days", "3")
    said = complaint(shell("serve", model, *queue, "--database", tmp_path / "none" / "x.sqlite"), 2)
    assert "no such folder as" in said
    said = complaint(shell("serve", model, *queue, "--spot-check", "2"), 2)
    assert "--spot-check: expected a share between 0 and 1" in said
    said = complaint(shell("serve", model, "--queue", "--keep-days", "0"), 2)
    assert "--keep-days: expected a whole number from 1 to 36500" in said
    (tmp_path / "other.sqlite").write_text("no database, but long enough to be read as one")
    said = complaint(shell("serve", model, *queue, "--database", tmp_path / "other.sqlite"), 1)
    assert "the review database says no" in said
