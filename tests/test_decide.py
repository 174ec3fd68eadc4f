"""``kramar.decide``: new decisions for a model file, by photos that it has not seen."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

import kramar
from drawn import Told
from kramar import DataError, InputError, Run
from products import put, put_folder
from shell import complaint
from shell import kramar as command


@pytest.fixture
def model(trained: Run, tmp_path: Path) -> Path:
    return Path(shutil.copy(trained.path / "model.onnx", tmp_path / "model.onnx"))


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_folder(tmp_path_factory.mktemp("unseen") / "photos", 20, start=500)


def test_a_trained_model_carries_decisions(trained: Run, shop: Path) -> None:
    card = kramar.load(trained.path / "model.onnx").card
    assert card.decisions is not None
    assert card.decisions.precision_target == 0.98
    # Nine validation photos show nothing.
    assert not card.decisions.auto.guaranteed
    again = kramar.evaluate(trained.path / "model.onnx", shop)
    assert again.decisions is not None
    assert trained.record.decisions is not None
    # Thresholds on the curve are probabilities, which differ in their last digits.
    assert again.decisions.model_copy(update={"curve": []}) == trained.record.decisions.model_copy(update={"curve": []})
    assert again.decisions.coverage.n == trained.record.data.split["test"]


def test_photos_that_it_has_not_seen_can_guarantee(model: Path, unseen: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    done = kramar.decide(model, unseen, precision=0.5, out=tmp_path / "decided.onnx")
    assert (done.split, done.photos) == ("all", 60)
    assert done.decisions.guaranteed
    assert done.decisions.precision_target == 0.5
    assert model.read_bytes() == before
    opened = kramar.load(tmp_path / "decided.onnx")
    assert opened.card.decisions is not None
    assert opened.card.decisions.auto.guaranteed
    assert kramar.evaluate(opened, unseen).decisions == done.decisions
    decisions = [row.decision for row in kramar.classify(opened, unseen)]
    assert decisions.count("auto") == round(60 * done.decisions.coverage.value)
    assert set(decisions) <= {"auto", "coarse", "review"}
    # Its own file, in one step.
    assert kramar.decide(model, unseen, precision="50%").model == str(model)
    assert kramar.load(model).card == opened.card


def test_sets_are_in_the_table(model: Path, unseen: Path, tmp_path: Path) -> None:
    kramar.decide(model, unseen, precision=0.5)
    list(kramar.classify(model, unseen, out=tmp_path / "out.csv"))
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["decision"] for row in rows} <= {"auto", "coarse", "review"}
    assert all(json.loads(row["set"])[0] == row["label"] for row in rows)


def test_each_category_can_be_promised_alone(model: Path, unseen: Path, tmp_path: Path) -> None:
    done = kramar.decide(model, unseen, precision=0.4, class_precision=True, out=tmp_path / "each.onnx")
    assert done.decisions.by_class
    assert sum(one.n for one in done.decisions.precision_by_class.values()) == round(60 * done.decisions.coverage.value)
    card = kramar.load(tmp_path / "each.onnx").card
    assert card.decisions is not None
    least = dict(zip(kramar.load(model).classes, card.decisions.auto_by_class, strict=True))
    for row in kramar.classify(tmp_path / "each.onnx", unseen):
        own = least[row.label]
        assert row.probability is not None
        assert (row.decision == "auto") == (own is not None and row.probability >= own)


def test_photos_that_chose_the_model_only_estimate(model: Path, shop: Path) -> None:
    done = kramar.decide(model, shop, precision=0.5)
    assert done.split == "val"
    assert not done.decisions.guaranteed


def test_test_photos_chose_nothing(model: Path, shop: Path) -> None:
    assert kramar.decide(model, shop, split="test", precision=0.01).decisions.guaranteed


@pytest.mark.parametrize("split", ["train", "all"])
def test_photos_that_it_learnt_from_are_refused(model: Path, shop: Path, split: str) -> None:
    before = model.read_bytes()
    with pytest.raises(DataError, match="the model learnt from these photos"):
        kramar.decide(model, shop, split=split)
    assert model.read_bytes() == before


def test_photos_that_it_learnt_from_are_known_among_others_too(model: Path, shop: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    grown = Path(shutil.copytree(shop, tmp_path / "grown"))
    put(grown / "Plate" / "new.jpg", "Plate", 990)
    with pytest.raises(DataError, match=r"learnt from some of these photos, or they chose it, and which .* not known"):
        kramar.decide(model, grown)
    assert model.read_bytes() == before
    (warning,) = kramar.evaluate(model, grown).warnings
    assert "its figures are too good" in warning
    assert kramar.evaluate(model, shop).warnings == []


@pytest.mark.parametrize("given", ["1", "0", "98", "much", "-0.5"])
def test_a_wrong_precision_is_one_line(model: Path, unseen: Path, given: str) -> None:
    with pytest.raises(InputError, match=r"--precision: expected a share between 0 and 1 such as 0\.98, found"):
        kramar.decide(model, unseen, precision=given)


def test_a_model_without_decisions_gets_some(model: Path, unseen: Path) -> None:
    from kramar.exporting import onnx_file

    card = kramar.load(model).card.model_copy(update={"decisions": None})
    onnx_file.describe(model, card, model)
    assert kramar.evaluate(model, unseen).decisions is None
    assert [row.decision for row in kramar.classify(model, unseen)] == [""] * 60
    kramar.decide(model, unseen, precision=0.5)
    decisions = kramar.load(model).card.decisions
    assert decisions is not None
    assert decisions.auto.photos == 60


def test_photos_that_it_has_not_seen_calibrate_it(
    model: Path, unseen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kramar.load(model)
    assert kramar.decide(model, unseen, out=tmp_path / "few.onnx").temperature == before.card.temperature
    monkeypatch.setattr("kramar.decisions.fitting._FEWEST", 10)
    done = kramar.decide(model, unseen, precision=0.5, out=tmp_path / "calibrated.onnx")
    after = kramar.load(tmp_path / "calibrated.onnx")
    assert after.card.temperature == done.temperature != before.card.temperature
    # Its figures were those of another temperature.
    assert before.card.metrics
    assert not after.card.metrics
    images = np.stack([before.pixels(path) for path in sorted(unseen.rglob("*.jpg"))[:8]])
    np.testing.assert_array_equal(after.logits(images), before.logits(images))
    np.testing.assert_allclose(
        after.scores(images), softmax(after.logits(images) / done.temperature, axis=1), atol=1e-6
    )
    found = kramar.evaluate(after, unseen).decisions
    assert found is not None
    assert found.coverage == done.decisions.coverage


def test_photos_of_a_product_that_is_learnt_from_show_nothing(tmp_path: Path) -> None:
    shop = put_folder(tmp_path / "photos", 12)
    table = tmp_path / "shop.csv"
    rows = ["image,label,product,split"]
    for photo in sorted(shop.rglob("*.jpg")):
        number = int(photo.stem)
        # The table cuts the product of the first test photo of each class.
        product = f"{photo.parent.name}-{0 if number in (0, 6) else number}"
        part = "train" if number < 6 else "test" if number < 10 else "val"
        rows.append(f"{photo},{photo.parent.name},{product},{part}")
    table.write_text("\n".join(rows), encoding="utf-8")
    run = kramar.train(table, tmp_path / "run", rungs="head", skip_audit=True)
    told = Told()
    done = kramar.decide(run.path / "model.onnx", table, split="test", precision=0.3, progress=told)
    assert (done.photos, done.decisions.coverage.n) == (9, 9)
    assert "Decided by the 9 of them of which no copy or product was learnt from" in told.said


def test_near_twins_of_new_photos_count_once(model: Path, unseen: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(unseen, tmp_path / "again"))
    for path in sorted(again.rglob("*.jpg")):
        with Image.open(path) as photo:
            photo.save(path.with_name(f"{path.stem}-again.jpg"), quality=60)
    done = kramar.decide(model, again, precision=0.5, out=tmp_path / "decided.onnx")
    assert done.photos == 120
    decisions = kramar.load(tmp_path / "decided.onnx").card.decisions
    assert decisions is not None
    assert decisions.auto.photos == 60


def test_a_file_keeps_its_decisions_where_nothing_could_show_others(tmp_path: Path) -> None:
    shop, table = put_folder(tmp_path / "photos", 10), tmp_path / "shop.csv"
    rows = ["image,label,product,split"]
    for photo in sorted(shop.rglob("*.jpg")):
        number = int(photo.stem)
        part = "train" if number < 5 else "test" if number < 8 else "val"
        rows.append(f"{photo},{photo.parent.name},{photo.parent.name}-{number % 2},{part}")
    table.write_text("\n".join(rows), encoding="utf-8")
    model = kramar.train(table, tmp_path / "run", rungs="head", skip_audit=True).path / "model.onnx"
    before = model.read_bytes()
    with pytest.raises(DataError, match=r"of each of its 9 test photos the model learnt from a copy"):
        kramar.decide(model, table, split="test")
    assert model.read_bytes() == before


def test_in_words_and_in_json(model: Path, unseen: Path) -> None:
    words = command("decide", model, unseen, "--precision", "0.5")
    assert words.returncode == 0
    assert f"{model}, decided on {unseen} (all photos, n = 60)" in words.stdout
    assert "of photos need no person, at 50% precision (guaranteed with 95% confidence)" in words.stdout
    document = json.loads(command("decide", model, unseen, "--precision", "0.5", "--json").stdout)
    assert document["decisions"]["guaranteed"]
    assert "expected a share" in complaint(command("decide", model, unseen, "--precision", "2"), 2)


def test_photos_that_training_keeps_aside_guarantee_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = put_folder(tmp_path / "photos", 60)
    monkeypatch.setattr("kramar.data.split.ASIDE_FROM", 15)
    run = kramar.train(shop, tmp_path / "run", budget="60s", rungs="head", precision=0.4)
    kept = run.record.data.aside
    assert 5 < kept < run.record.data.split["val"]
    assert run.metrics["val"].accuracy.n == run.record.data.split["val"] - kept
    card = kramar.load(run.path / "model.onnx").card
    assert card.aside == kept
    assert card.decisions is not None
    assert card.decisions.auto.guaranteed
    assert card.decisions.auto.photos == kept
    assert run.record.decisions is not None
    assert run.record.decisions.guaranteed
    # Another promise, by the same photos.
    told = Told()
    again = kramar.decide(run.path / "model.onnx", shop, precision=0.3, out=tmp_path / "new.onnx", progress=told)
    assert (again.split, again.photos) == ("val", kept)
    assert again.decisions.guaranteed
    assert f"Decided by the {kept} of them that were kept aside in training" in told.said
