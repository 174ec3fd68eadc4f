"""``kramar classify --queue``: which photos a person is asked of."""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import kramar
from drawn import Told
from kramar import InputError, Run
from kramar.exporting import fingerprints, onnx_file
from kramar.files import sha256
from kramar.reviewing import adding, findings
from kramar.reviewing.database import Database
from kramar.reviewing.live import live_precision
from kramar.reviewing.queue import Queue
from kramar.reviewing.records import ACCEPT, Correction
from products import put_folder
from shell import complaint
from shell import kramar as command


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_folder(tmp_path_factory.mktemp("new") / "photos", 10, start=700)


@pytest.fixture
def model(trained: Run, tmp_path: Path) -> Path:
    """A model file of which a half of the photos need no person."""
    path = Path(shutil.copy(trained.path / "model.onnx", tmp_path / "model.onnx"))
    card = kramar.load(path).card
    assert card.decisions is not None
    auto = card.decisions.auto.model_copy(update={"threshold": 0.6})
    decisions = card.decisions.model_copy(update={"auto": auto, "unknown_above": None})
    onnx_file.describe(path, card.model_copy(update={"decisions": decisions}), path)
    return path


def decide_all(database: Database) -> list[Correction]:
    queue = Queue(database)
    for item in queue.claim("Ann", 1000):
        queue.decide(item.id, "Ann", ACCEPT)
    return findings.corrections(database)


def test_what_is_not_auto_is_asked_once(model: Path, new: Path) -> None:
    plain, told = list(kramar.classify(model, new)), Told()
    assert list(kramar.classify(model, new, queue=True, progress=told)) == plain
    doubtful = [row for row in plain if row.decision != "auto"]
    assert 0 < len(doubtful) < len(plain)
    place = model.parent / "review.sqlite"
    assert told.said == [f"{len(doubtful)} photo(s) to review in {place}"]
    database = Database(str(place))
    assert findings.counts(database).waiting == len(doubtful)
    items = {one.name: one for one in decide_all(database)}
    assert set(items) == {row.image for row in doubtful}
    for row in doubtful:
        one = items[row.image]
        photo = new / row.image
        assert one.path is not None
        assert one.path.samefile(photo)
        assert one.sha256 == hashlib.sha256(photo.read_bytes()).hexdigest()
        assert findings.content(database, one.photo) is None
        assert (one.model, one.body, one.predicted) == (sha256(model), fingerprints.body(model), row.label)
        opened = kramar.load(model)
        (seen,) = opened.outputs(opened.pixels(photo)[None], ["embedding"])
        np.testing.assert_allclose(one.embedding, seen[0], rtol=2e-3, atol=2e-3)
    # What is decided stays so.
    list(kramar.classify(model, new, queue=True, progress=told))
    assert told.said[-1] == (f"0 photo(s) to review in {place}; {len(doubtful)} more are in it already")


def test_a_share_of_what_is_auto_is_checked(model: Path, new: Path, tmp_path: Path) -> None:
    place = tmp_path / "other.sqlite"
    rows = list(kramar.classify(model, new, queue=True, database=f"sqlite:///{place}", spot_check="50%"))
    auto = sum(row.decision == "auto" for row in rows)
    database = Database(str(place))
    checks = live_precision(database, sha256(model)).waiting
    assert 0.2 * auto < checks < 0.8 * auto
    assert findings.counts(database).waiting == len(rows) - auto + checks
    # The same photos, the same share.
    list(kramar.classify(model, new, queue=True, database=str(place), spot_check=0.5))
    assert live_precision(database, sha256(model)).waiting == checks
    decide_all(database)
    live = live_precision(database, sha256(model))
    assert (live.waiting, live.alarm, live.target) == (0, False, 0.98)
    assert live.precision is not None
    assert (live.precision.value, live.precision.n) == (1.0, checks)


def test_heat_maps_and_the_queue_at_once(model: Path, new: Path, tmp_path: Path) -> None:
    rows = list(kramar.classify(model, new, queue=True, explain=tmp_path / "heat"))
    assert len(list((tmp_path / "heat").rglob("*.heat.jpg"))) == len(rows)
    assert findings.counts(Database(str(tmp_path / "review.sqlite"))).waiting > 0


def test_photos_that_were_answered_are_asked_where_it_ends_early(model: Path, new: Path) -> None:
    rows = kramar.classify(model, new, queue=True)
    seen = [next(rows) for _ in range(12)]
    rows.close()  # type: ignore[attr-defined]
    waiting = findings.counts(Database(str(model.parent / "review.sqlite"))).waiting
    assert waiting == sum(row.decision != "auto" for row in seen)


def test_photos_are_kept_where_that_is_asked(model: Path, new: Path) -> None:
    list(kramar.classify(model, new, queue=True, keep_days=2))
    database = Database(str(model.parent / "review.sqlite"))
    found = decide_all(database)
    assert found
    for one in found:
        assert one.path is not None
        assert findings.content(database, one.photo) == one.path.read_bytes()
    adding.forget(database, datetime.now(UTC) + timedelta(days=1.9))
    assert findings.content(database, found[0].photo) is not None
    adding.forget(database, datetime.now(UTC) + timedelta(days=2.1))
    assert [findings.content(database, one.photo) for one in found] == [None] * len(found)


def test_wrong_uses(model: Path, new: Path, trained: Run) -> None:
    with pytest.raises(InputError, match="--spot-check is of the review queue: add --queue"):
        kramar.classify(model, new, spot_check=0.01)
    with pytest.raises(InputError, match="--database is of the review queue: add --queue"):
        kramar.classify(model, new, database="review.sqlite")
    with pytest.raises(InputError, match="--keep-days is of the review queue: add --queue"):
        kramar.classify(model, new, keep_days=3)
    with pytest.raises(InputError, match="--keep-days: expected a whole number from 1 to 36500"):
        kramar.classify(model, new, queue=True, keep_days=0)
    with pytest.raises(InputError, match="--spot-check: expected a share between 0 and 1"):
        kramar.classify(model, new, queue=True, spot_check=2)
    onnx_file.describe(model, kramar.load(model).card.model_copy(update={"decisions": None}), model)
    with pytest.raises(InputError, match="it has no decisions; fit them with kramar decide"):
        kramar.classify(model, new, queue=True)


def test_from_the_command_line(model: Path, new: Path) -> None:
    done = command("classify", model, new, "--queue", "--spot-check", "0.1")
    assert done.returncode == 0, done.stderr
    assert f"photo(s) to review in {model.parent / 'review.sqlite'}" in done.stderr
    said = complaint(command("classify", model, new, "--queue", "--database", "mysql://x/y"), 2)
    assert "--database: expected a file, sqlite:///FILE or postgresql://" in said
    (model.parent / "shop.csv").write_text(f"image,product\n{new / 'Box' / '700.jpg'},1\n", encoding="utf-8")
    said = complaint(command("classify", model, model.parent / "shop.csv", "--queue", "--products"), 2)
    assert "--queue asks what each photo shows; leave --products away, or --queue" in said
