"""``kramar.learn``: what people decided becomes the model file's last layer."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from scipy.special import softmax

import kramar
from drawn import Told
from kramar import FailedError, InputError, ModelFileError, Run, RunFolderError
from kramar.exporting import fingerprints, last_layer, onnx_file, storage
from kramar.files import sha256
from kramar.jobs.seen import NAME as SEEN
from kramar.jobs.seen import Seen
from kramar.reviewing import adding, findings
from kramar.reviewing.database import Database
from kramar.reviewing.queue import Queue
from kramar.reviewing.records import ACCEPT, BAD_PHOTO, CATEGORY, DOUBTFUL, UNKNOWN_THING, Doubt, Item, Source
from products import KINDS, put_folder
from shell import command as command_line
from shell import complaint, contents
from shell import kramar as command

Decide = Callable[[Queue, Item], object]


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Path:
    """A copy of the run, of which a person sees every answer."""
    folder = Path(shutil.copytree(trained.path, tmp_path / "run"))
    ask_all(folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_folder(tmp_path_factory.mktemp("new") / "photos", 25, start=800)


def ask_all(model: Path) -> None:
    card = kramar.load(model).card
    assert card.decisions is not None
    auto = card.decisions.auto.model_copy(update={"threshold": None})
    decisions = card.decisions.model_copy(update={"auto": auto, "unknown_above": None})
    onnx_file.describe(model, card.model_copy(update={"decisions": decisions}), model)


def truly(queue: Queue, item: Item) -> None:
    """Decide what the photo's folder says."""
    queue.decide(item.id, "Ann", CATEGORY, Path(item.image).parent.name)


def review(model: Path, photos: Path, decide: Decide = truly, most: int = 1000) -> Database:
    list(kramar.classify(model, photos, queue=True))
    database = Database(str(model.parent / "review.sqlite"))
    queue = Queue(database)
    for item in queue.claim("Ann", most):
        decide(queue, item)
    return database


def says(model: Path, photos: Path) -> np.ndarray:
    opened = kramar.load(model)
    return opened.scores(np.stack([opened.pixels(path) for path in sorted(photos.rglob("*.jpg"))]))


def accuracy(model: Path, photos: Path) -> float:
    rows = list(kramar.classify(model, photos))
    return sum(Path(row.image).parent.name == row.label for row in rows) / len(rows)


def test_training_leaves_what_it_saw(trained: Run, shop: Path) -> None:
    model = kramar.load(trained.path / "model.onnx")
    seen = Seen.read(trained.path / SEEN, fingerprints.body(model.path))
    assert seen is not None
    split = trained.record.data.split
    assert [len(seen.entries[part]) for part in ("train", "val", "aside")] == [split["train"], split["val"], 0]
    assert len(seen.held) == split["val"] + split["test"]
    by_hash = {sha256(path): path for path in shop.rglob("*.jpg")}
    for part in ("train", "val"):
        for (hash_, label, _), embedding in list(zip(seen.entries[part], seen.embeddings[part], strict=True))[:5]:
            assert by_hash[hash_].parent.name == label
            (found,) = model.outputs(model.pixels(by_hash[hash_])[None], ["embedding"])
            np.testing.assert_allclose(embedding, found[0], rtol=1e-2, atol=2e-3)
    assert Seen.read(trained.path / SEEN, "another body") is None


def test_it_learns_and_the_file_before_is_kept(run: Path, new: Path) -> None:
    model = run / "model.onnx"
    before, was = model.read_bytes(), kramar.load(model)
    others = put_folder(run.parent / "others", 20, start=2000)
    first = accuracy(model, others)
    database = review(model, new)
    done = kramar.learn(run)
    assert (done.model, done.learnt, done.left_out, done.categories) == (str(model), 75, {}, [])
    assert 0 < done.changed < 75
    assert done.difference.value >= -0.005
    after = kramar.load(model)
    assert (done.before, done.after) == (sha256(run / "learnt" / "0001.onnx"), sha256(model))
    assert (run / "learnt" / "0001.onnx").read_bytes() == before
    assert after.card.corrections == 75
    assert after.card.temperature == done.temperature
    assert set(after.card.metrics) == {"val"}
    assert after.card.metrics["val"].accuracy.value == done.accuracy[1].value
    assert after.card.decisions is not None
    assert not after.card.decisions.auto.guaranteed
    # What it sees is what it saw; what it says is one layer of that.
    assert fingerprints.body(model) == fingerprints.body(run / "learnt" / "0001.onnx")
    images = np.stack([was.pixels(path) for path in sorted(new.rglob("*.jpg"))[:9]])
    ours, theirs = (one.outputs(images, ["embedding", "logits", "probabilities"]) for one in (after, was))
    np.testing.assert_array_equal(ours[0], theirs[0])
    layer = last_layer.read(model)
    np.testing.assert_allclose(layer(ours[0]), ours[1], atol=1e-4)
    np.testing.assert_allclose(softmax(ours[1] / done.temperature, axis=1), ours[2], atol=1e-5)
    assert accuracy(model, others) >= first
    assert accuracy(model, new) > 0.9
    with database.reading() as session:
        from sqlalchemy import text

        assert session.execute(text("SELECT kind, corrections FROM learnings")).all() == [("learn", 75)]


def test_it_is_taken_back(run: Path, new: Path) -> None:
    model = run / "model.onnx"
    before = model.read_bytes()
    review(model, new, most=40)
    kramar.learn(run)
    first = model.read_bytes()
    review(model, new)
    kramar.learn(model)
    second = kramar.learn(run, undo=True)
    assert model.read_bytes() == first
    assert second.learnt == 75
    kramar.learn(run, undo=True)
    assert model.read_bytes() == before
    with pytest.raises(InputError, match="expected a file that kramar learn made"):
        kramar.learn(run, undo=True)
    # The decisions are still there.
    assert kramar.learn(run).learnt == 75


def test_each_learning_starts_from_the_layer_that_was_trained(run: Path, new: Path, tmp_path: Path) -> None:
    straight = Path(shutil.copytree(run, tmp_path / "straight"))
    review(run / "model.onnx", new, most=30)
    kramar.learn(run)
    # New decisions do not make it another start.
    onnx_file.describe(run / "model.onnx", kramar.load(run / "model.onnx").card, run / "model.onnx")
    ask_all(run / "model.onnx")
    review(run / "model.onnx", new)
    kramar.learn(run)
    database = review(straight / "model.onnx", new)
    kramar.learn(straight)
    assert len(findings.corrections(database)) == 75
    np.testing.assert_allclose(says(run / "model.onnx", new), says(straight / "model.onnx", new), atol=2e-3)
    with pytest.raises(InputError, match="has learnt all that is decided in"):
        kramar.learn(straight)
    # Also where it was decided anew by photos that it had not seen: that is not to be lost for nothing.
    ask_all(straight / "model.onnx")
    with pytest.raises(InputError, match="has learnt all that is decided in"):
        kramar.learn(straight)


@pytest.mark.parametrize("make", [storage.float16, storage.int8_weights])
def test_small_files_learn_and_stay_small(run: Path, new: Path, make: Callable[[Path, Path], None]) -> None:
    model = run / "model.onnx"
    make(model, model)
    (run / SEEN).unlink()
    size, was = model.stat().st_size, kramar.load(model)
    others = put_folder(run.parent / "others", 15, start=2000)
    first = accuracy(model, others)
    review(model, new)
    done = kramar.learn(run)
    assert abs(model.stat().st_size - size) < 10_000
    stored = {one.name: one.data_type for one in onnx.load(model).graph.initializer}
    assert stored["head.weight.float16"] == onnx.TensorProto.FLOAT16
    assert "head.weight" not in stored
    assert accuracy(model, others) >= first - 0.05
    images = np.stack([was.pixels(path) for path in sorted(new.rglob("*.jpg"))[:9]])
    after = kramar.load(model)
    embeddings, probabilities = after.outputs(images, ["embedding", "probabilities"])
    np.testing.assert_array_equal(embeddings, was.outputs(images, ["embedding"])[0])
    expected = softmax(last_layer.read(model)(embeddings) / done.temperature, axis=1)
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    # What it saw is kept for the next time.
    assert Seen.read(run / SEEN, fingerprints.body(model)) is not None


def test_a_reviewer_adds_a_category(run: Path, new: Path, tmp_path: Path) -> None:
    model = run / "model.onnx"
    stars = tmp_path / "stars"
    for number in range(16):
        (stars / "Stripes").mkdir(parents=True, exist_ok=True)
        wave = np.tile((np.arange(64) * (number + 2) * 8 % 256).astype(np.uint8), (64, 1))
        Image.fromarray(np.stack([wave, wave.T, 255 - wave], axis=-1)).save(stars / "Stripes" / f"{number}.jpg")
    database = review(model, new, most=20)
    Queue(database).add_category("Stripes", "Pattern/Stripes", "Ann")
    Queue(database).add_category("Unused", "Unused", "Ann")
    learnt_from = tmp_path / "some"
    shutil.copytree(stars, learnt_from)
    for number in range(0, 16, 3):
        (learnt_from / "Stripes" / f"{number}.jpg").unlink()
    review(model, learnt_from)
    done = kramar.learn(run)
    assert done.categories == ["Stripes"]
    opened = kramar.load(model)
    assert opened.classes == [*sorted(KINDS), "Stripes"]
    assert opened.card.classes[-1].category == "Pattern/Stripes"
    rows = [row for row in kramar.classify(opened, stars) if int(Path(row.image).stem) % 3 == 0]
    assert [row.label for row in rows].count("Stripes") >= 5
    assert accuracy(model, new) > 0.6
    # Photos of it are no strangers any more.
    familiar = np.mean([row.unknown_score for row in rows])
    assert familiar < np.mean([row.unknown_score for row in kramar.classify(run / "learnt" / "0001.onnx", stars)])
    # And taken back: a learning that has categories which this one lacks goes on from there.
    kramar.learn(run, undo=True)
    assert kramar.load(model).classes == sorted(KINDS)


def test_what_teaches_nothing_is_left_out_and_said(run: Path, new: Path, shop: Path, trained: Run) -> None:
    model = run / "model.onnx"
    kinds = iter([UNKNOWN_THING, BAD_PHOTO, BAD_PHOTO])

    def decide(queue: Queue, item: Item) -> None:
        kind = next(kinds, None)
        queue.decide(item.id, "Ann", kind) if kind else truly(queue, item)

    review(model, new, decide)
    review(model, shop)
    told = Told()
    done = kramar.learn(run, progress=told)
    split = trained.record.data.split
    assert done.left_out == {
        "none of the categories": 1,
        "bad photos": 2,
        "validation and test photos": split["val"] + split["test"],
    }
    assert done.learnt == 72 + split["train"]
    assert f"Left out of {run / 'review.sqlite'}: 2 bad photos" in told.said


def test_photos_of_another_body_are_seen_anew(run: Path, new: Path, tmp_path: Path) -> None:
    model = run / "model.onnx"
    review(model, new)
    storage.int8_weights(model, model)
    gone = sorted(new.rglob("*.jpg"))[:3]
    kept = [path.read_bytes() for path in gone]
    try:
        gone[0].unlink()
        shutil.copy(gone[2], gone[1])
        done = kramar.learn(run)
    finally:
        for path, content in zip(gone, kept, strict=True):
            path.write_bytes(content)
    assert done.left_out == {"photos not found": 2}
    assert done.learnt == 73


def test_kept_bytes_are_enough(run: Path, new: Path, tmp_path: Path) -> None:
    model = run / "model.onnx"
    path = next(iter(sorted(new.rglob("*.jpg"))))
    data, opened = path.read_bytes(), kramar.load(model)
    database = Database(str(run / "review.sqlite"))
    card = opened.card
    source = Source("e" * 64, "another body", {one.label: one.category for one in card.classes}, None)
    said = opened.classify([data])[0].model_copy(update={"image": "gone.jpg"})
    one = Doubt(hashlib.sha256(data).hexdigest(), said, np.zeros(4), DOUBTFUL, tmp_path / "gone.jpg", data)
    adding.add(database, source, [one], datetime.now(UTC), keep_days=1)
    queue = Queue(database)
    (item,) = queue.claim("Ann", 1)
    queue.decide(item.id, "Ann", CATEGORY, path.parent.name)
    assert kramar.learn(run).learnt == 1


def test_what_would_make_it_worse_is_not_learnt(run: Path, new: Path) -> None:
    model = run / "model.onnx"
    before = contents(run)

    def wrongly(queue: Queue, item: Item) -> None:
        kind = Path(item.image).parent.name
        queue.decide(item.id, "Ann", CATEGORY, KINDS[(KINDS.index(kind) + 1) % 3])

    review(model, new, wrongly)
    with pytest.raises(FailedError, match=r"makes it worse on the \d+ validation photos, by .* nothing was changed"):
        kramar.learn(run)
    after = contents(run)
    assert {name: data for name, data in after.items() if name in before} == before
    assert set(after) - set(before) <= {"review.sqlite", "review.sqlite-shm", "review.sqlite-wal", ".model.onnx.lock"}


def test_a_guarantee_is_shown_anew_or_said_to_be_gone(
    tmp_path: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = put_folder(tmp_path / "photos", 60)
    monkeypatch.setattr("kramar.data.split.ASIDE_FROM", 15)
    trained = kramar.train(shop, tmp_path / "run", budget="60s", rungs="head", precision=0.4)
    model = trained.path / "model.onnx"
    assert trained.model.card.decisions is not None
    assert trained.model.card.decisions.auto.guaranteed
    Path(shutil.copy(model, tmp_path / "again.onnx"))
    rows = list(kramar.classify(model, new, queue=True, spot_check=0.99))
    queue = Queue(Database(str(trained.path / "review.sqlite")))
    for item in queue.claim("Ann", 1000):
        truly(queue, item)
    done = kramar.learn(trained.path)
    assert done.learnt > 0.9 * len(rows)
    assert done.guaranteed
    assert done.auto is not None
    card = kramar.load(model).card
    assert card.decisions is not None
    # Of the photos aside, which neither learnt nor chose.
    assert card.decisions.auto.photos == card.aside == trained.record.data.aside
    # Seen anew, the same photos are aside.
    again = kramar.learn(
        tmp_path / "again.onnx", data=shop, database=str(trained.path / "review.sqlite"), out=tmp_path / "out.onnx"
    )
    assert again.guaranteed
    assert (again.learnt, again.accuracy[0].n) == (done.learnt, done.accuracy[0].n)


def test_a_guarantee_without_photos_aside_is_gone(run: Path, new: Path, tmp_path: Path) -> None:
    unseen = put_folder(tmp_path / "unseen", 25, start=3000)
    kramar.decide(run / "model.onnx", unseen, precision=0.4)
    decisions = kramar.load(run / "model.onnx").card.decisions
    assert decisions is not None
    assert decisions.auto.guaranteed
    list(kramar.classify(run / "model.onnx", new, queue=True, spot_check=0.99))
    queue = Queue(Database(str(run / "review.sqlite")))
    for item in queue.claim("Ann", 1000):
        truly(queue, item)
    told = Told()
    assert not kramar.learn(run, progress=told).guaranteed
    (warning,) = [line for line in told.said if line.startswith("Warning")]
    assert "of this one it is estimated, until kramar decide fits it on photos that it has not seen" in warning
    # What is asked stays what was asked.
    card = kramar.load(run / "model.onnx").card
    assert card.decisions is not None
    assert card.decisions.precision_target == 0.4


def test_a_killed_learning_leaves_a_whole_file(run: Path, new: Path) -> None:
    model = run / "model.onnx"
    review(model, new)
    before = model.read_bytes()
    for moment in ("learnt", ".model.onnx.learn.*/model.onnx"):
        process = subprocess.Popen(command_line("learn", run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not list(run.glob(moment)):
            time.sleep(0.002)
        process.kill()
        process.wait()
        if model.read_bytes() != before:  # it was quicker
            kramar.learn(run, undo=True)
        assert kramar.load(model).classes == sorted(KINDS)
        assert model.read_bytes() == before
    done = kramar.learn(run)
    assert done.learnt == 75
    assert not [path.name for path in run.rglob("*") if path.suffix == ".tmp" or ".learn." in path.name]
    kramar.learn(run, undo=True)
    assert model.read_bytes() == before


def test_it_says_what_to_install(run: Path, new: Path) -> None:
    def without(package: str) -> str:
        return f"import sys; sys.modules[{package!r}] = None"

    said = complaint(command("learn", run, first=without("scipy")), 2)
    assert "kramar learn needs the 'train' extra" in said
    said = complaint(command("learn", run, first=without("sqlalchemy")), 2)
    assert "kramar learn needs the 'serve' extra" in said
    said = complaint(command("classify", run / "model.onnx", new, "--queue", first=without("sqlalchemy")), 2)
    assert "--queue needs the 'serve' extra: pip install 'kramar[serve]'" in said


def test_another_file_and_a_model_file_alone(run: Path, new: Path, shop: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(run / "model.onnx", tmp_path / "alone.onnx"))
    before = alone.read_bytes()
    review(alone, new)
    with pytest.raises(InputError, match="needs the photos that it was trained on too: name them with --data"):
        kramar.learn(alone)
    with pytest.raises(InputError, match=r"expected the photos that .* was trained on, found others"):
        kramar.learn(alone, data=new)
    done = kramar.learn(alone, data=shop, out=tmp_path / "better.onnx")
    assert alone.read_bytes() == before
    assert not (tmp_path / "learnt").exists()
    assert done.model == str(tmp_path / "better.onnx")
    assert kramar.load(done.model).card.corrections == 75
    # From what it learnt is not known there.
    with pytest.raises(InputError, match="has learnt from corrections, and the file that it was before is not in"):
        kramar.learn(tmp_path / "better.onnx", data=shop)
    assert kramar.learn(alone, data=shop).after == done.after
    with pytest.raises(InputError, match="--undo puts back the file before: leave"):
        kramar.learn(alone, undo=True, data=shop)


def test_refusals(run: Path, new: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such review queue; kramar classify --queue or kramar serve"):
        kramar.learn(run)
    assert not (run / "review.sqlite").exists()
    review(run / "model.onnx", new, most=0)
    with pytest.raises(InputError, match="nothing is decided that the model could learn from"):
        kramar.learn(run)
    with pytest.raises(RunFolderError, match=r"expected a finished kramar run, found no run\.json"):
        kramar.learn(new)
    with pytest.raises(ModelFileError, match="no such model file"):
        kramar.learn(run / "another.onnx")
    with pytest.raises(ModelFileError, match="no such model file"):
        kramar.learn(tmp_path / "nowhere" / "model.onnx")


def test_labels_of_another_model_teach_nothing(run: Path, new: Path, made: object, tmp_path: Path) -> None:
    other = Path(shutil.copy(made.path, tmp_path / "other.onnx"))  # type: ignore[attr-defined]
    decisions = kramar.load(run / "model.onnx").card.decisions
    onnx_file.describe(other, kramar.load(other).card.model_copy(update={"decisions": decisions}), other)
    review(other, new, lambda queue, item: queue.decide(item.id, "Ann", ACCEPT))
    told = Told()
    with pytest.raises(InputError, match="nothing is decided that the model could learn from"):
        kramar.learn(run, database=str(tmp_path / "review.sqlite"), progress=told)
    assert told.said == [f"Left out of {tmp_path / 'review.sqlite'}: 75 labels that the model does not have"]


def test_in_words_and_in_json(run: Path, new: Path) -> None:
    review(run / "model.onnx", new, most=40)
    words = command("learn", run)
    assert words.returncode == 0, words.stderr
    assert f"{run / 'model.onnx'} has learnt from 40 decided photos in" in words.stdout
    assert "points (" in words.stdout
    assert "put back as it was before it learnt from 40" in command("learn", run, "--undo").stdout
    document = json.loads(command("learn", run, "--json").stdout)
    assert document["learnt"] == 40
    assert "found no run.json" in complaint(command("learn", new), 2)
