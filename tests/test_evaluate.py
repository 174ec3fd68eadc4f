"""``kramar.evaluate``: the figures of a run again, and any model on any labelled photos."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import kramar
from kramar import DataError, InputError, Model, Run
from kramar.cli.show import show_evaluation
from products import put, put_folder
from shell import kramar as command


@pytest.fixture(scope="module")
def table(trained: Run, shop: Path) -> Path:
    """The photos of the run and its split, as a table."""
    path = shop.parent / "split.csv"
    rows = pq.read_table(trained.path / "manifest.parquet").to_pylist()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "split"])
        writer.writerows([f"shop/{row['image']}", row["label"], row["split"]] for row in rows)
    return path


@pytest.fixture(scope="module")
def model(trained: Run) -> Model:
    return kramar.load(trained.path / "model.onnx")


def test_test_rows_give_the_figures_of_the_run(trained: Run, table: Path) -> None:
    evaluation = kramar.evaluate(trained.path / "model.onnx", table)
    assert (evaluation.split, evaluation.photos) == ("test", trained.record.data.split["test"])
    for name, estimate in evaluation.metrics:
        theirs = getattr(trained.metrics["test"], name)
        assert dict(estimate) == pytest.approx(dict(theirs), abs=2e-5), name
    assert evaluation.metrics.accuracy == trained.metrics["test"].accuracy
    assert evaluation.confusions == trained.record.confusions
    assert [(score.label, score.recall, score.precision, score.f1) for score in evaluation.classes] == [
        (score.label, score.recall, score.precision, score.f1) for score in trained.record.classes
    ]
    assert [mistake.truth for mistake in evaluation.mistakes] == [m.truth for m in trained.record.mistakes]
    assert not evaluation.warnings
    assert not evaluation.left_out


@pytest.mark.parametrize(
    ("split", "part"), [("val", "val"), ("valid", "val"), ("train", "train"), ("test", "test"), ("all", "all")]
)
def test_split_chooses_the_rows(model: Model, trained: Run, table: Path, split: str, part: str) -> None:
    evaluation = kramar.evaluate(model, table, split=split)
    assert evaluation.split == part
    assert evaluation.photos == (60 if part == "all" else trained.record.data.split[part])
    if part == "val":
        assert evaluation.metrics.accuracy == trained.metrics["val"].accuracy


def test_a_folder_without_a_split_is_scored_whole(model: Model, tmp_path: Path) -> None:
    evaluation = kramar.evaluate(model, put_folder(tmp_path / "others", 5, start=700))
    assert (evaluation.split, evaluation.photos) == ("all", 15)


def test_a_folder_of_splits_gives_its_test_part(model: Model, tmp_path: Path) -> None:
    for part, start in (("train", 30), ("test", 40)):
        put_folder(tmp_path / part, 4, start=start)
    assert (kramar.evaluate(model, tmp_path).split, kramar.evaluate(model, tmp_path).photos) == ("test", 12)


def test_labels_that_the_model_lacks_are_mistakes(model: Model, tmp_path: Path) -> None:
    put_folder(tmp_path, 3, ["Box"], start=50)
    for number in range(50, 54):
        put(tmp_path / "Lamp" / f"{number}.jpg", "Tent", number)
    evaluation = kramar.evaluate(model, tmp_path)
    assert evaluation.warnings == ["4 photo(s) of 1 label(s) that the model does not have ('Lamp') count as mistakes"]
    scores = {score.label: score for score in evaluation.classes}
    assert scores["Lamp"].recall is not None
    assert (scores["Lamp"].recall.value, scores["Lamp"].recall.n) == (0, 4)
    assert evaluation.metrics.accuracy.n == 7
    assert evaluation.metrics.accuracy.value <= 3 / 7
    assert sum(confusion.count for confusion in evaluation.confusions if confusion.truth == "Lamp") == 4


def test_none_of_the_labels_known(model: Model, tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / "box" / f"{number}.jpg", "Box", number)
    with pytest.raises(DataError, match="expected labels of the model such as 'Box', found only others such as 'box'"):
        kramar.evaluate(model, tmp_path)


def test_bad_photos_are_left_out_and_listed(model: Model, tmp_path: Path) -> None:
    put_folder(tmp_path, 2, start=60)
    (tmp_path / "Box" / "empty.jpg").write_bytes(b"")
    (tmp_path / "Box" / "text.jpg").write_text("no photo")
    (tmp_path / "Tent" / "gone.jpg").symlink_to("nowhere.jpg")
    evaluation = kramar.evaluate(model, tmp_path)
    assert evaluation.photos == 6
    assert evaluation.left_out == {"unreadable": 2, "missing": 1}
    assert {item.image for item in evaluation.left_out_files} == {"Box/empty.jpg", "Box/text.jpg", "Tent/gone.jpg"}
    with pytest.raises(DataError, match="--strict, and 3 cannot be used"):
        kramar.evaluate(model, tmp_path, strict=True)


def test_hidden_files_are_listed_and_no_matter_of_strict(model: Model, tmp_path: Path) -> None:
    put_folder(tmp_path, 2, start=60)
    (tmp_path / "Box" / ".DS_Store").write_bytes(b"")
    (tmp_path / "Box" / "Thumbs.db").write_bytes(b"")
    evaluation = kramar.evaluate(model, tmp_path, strict=True)
    assert evaluation.left_out == {"hidden": 2}
    assert [item.image for item in evaluation.left_out_files] == ["Box/.DS_Store", "Box/Thumbs.db"]


def test_the_seed_moves_the_bootstraps_intervals_and_nothing_else(model: Model, trained: Run, table: Path) -> None:
    figures = [kramar.evaluate(model, table, seed=seed).metrics for seed in (None, model.card.seed, 7)]
    assert figures[0] == figures[1]
    assert figures[0].accuracy == figures[2].accuracy
    assert [figure.log_loss.value for figure in figures] == [figures[0].log_loss.value] * 3
    assert figures[0].log_loss != figures[2].log_loss
    with pytest.raises(InputError, match="--seed: expected a whole number from 0"):
        kramar.evaluate(model, table, seed=-1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not UTF-8")
def test_names_that_are_not_utf_8(trained: Run, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    put_folder(folder / "photos", 2, start=60)
    shutil.copy(trained.path / "model.onnx", folder / "model.onnx")
    evaluation = kramar.evaluate(folder / "model.onnx", folder / "photos")
    assert evaluation.data == f"{tmp_path}/caf\\udce9/photos"
    assert kramar.Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation


def test_no_photo_can_be_read(model: Model, tmp_path: Path) -> None:
    (tmp_path / "Box").mkdir()
    (tmp_path / "Box" / "text.jpg").write_text("no photo")
    (tmp_path / "Box" / "notes.txt").write_text("no photo either")
    with pytest.raises(DataError, match="none of its 1 photos can be read, the first: not an image"):
        kramar.evaluate(model, tmp_path)


def test_a_split_that_is_none(model: Model, shop: Path, table: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--split: expected train, val, test or all, found 'exam'"):
        kramar.evaluate(model, table, split="exam")
    with pytest.raises(DataError, match=r"has no split of its own .* leave --split test away"):
        kramar.evaluate(model, put_folder(tmp_path / "others", 5, start=700), split="test")
    only_train = tmp_path / "train.csv"
    only_train.write_text(f"image,label,split\n{shop / 'Box' / '0.jpg'},Box,train\n", encoding="utf-8")
    with pytest.raises(DataError, match="has no test photos, only train; choose with --split"):
        kramar.evaluate(model, only_train)


def test_the_model_is_opened_before_the_photos_are_read(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(kramar.ModelFileError, match="no such model file"):
        kramar.evaluate(tmp_path / "model.onnx", shop)


def test_the_photos_of_the_training_are_known_and_their_test_part_is_scored(shop: Path, trained: Run) -> None:
    evaluation = kramar.evaluate(trained.model, shop)
    assert (evaluation.split, evaluation.photos) == ("test", trained.record.data.split["test"])
    assert evaluation.metrics.accuracy == trained.metrics["test"].accuracy
    assert kramar.evaluate(trained.model, shop, split="val").photos == trained.record.data.split["val"]
    assert kramar.evaluate(trained.model, shop, split="all").photos == trained.record.data.photos


def test_several_models_are_compared_on_the_same_photos(trained: Run, table: Path, shop: Path, tmp_path: Path) -> None:
    other = kramar.train(shop, tmp_path / "other", budget="60s", rungs="head", precision=0.9)
    files = [trained.path / "model.onnx", other.path / "model.onnx", trained.path / "model.onnx"]
    found = kramar.evaluate(files, table)
    assert [one.model for one in found.models] == [str(file) for file in files]
    assert found.models[0] == kramar.evaluate(files[0], table)
    assert [(one.first, one.second) for one in found.comparisons] == [
        (str(files[a]), str(files[b])) for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    same = found.comparisons[1]
    assert (same.difference.value, same.p, same.verdict, same.needed) == (0, 1, "no difference shown", None)
    assert same.coverage is not None
    assert same.coverage.value == 0
    assert "no difference shown on" in same.words()
    # The photos that the models were trained on are known without the table.
    assert kramar.evaluate(files[:2], shop).models[0].split == "test"
    told = command("evaluate", *files[:2], shop)
    assert told.returncode == 0, told.stderr
    assert f"{files[0]} against {files[1]}: " in told.stdout or f"{files[0]} is " in told.stdout
    document = json.loads(command("evaluate", *files[:2], shop, "--json").stdout)
    assert set(document) == {"models", "comparisons"}


def test_models_of_other_splits_are_not_compared_on_photos_that_one_learnt_from(
    trained: Run, shop: Path, tmp_path: Path
) -> None:
    other = kramar.train(shop, tmp_path / "other", budget="60s", rungs="head", seed=5)
    with pytest.raises(InputError, match=r"learnt from \d+ of the \d+ test photos of the other model"):
        kramar.evaluate([trained.path / "model.onnx", other.path / "model.onnx"], shop)
    with pytest.raises(InputError, match="expected at least one model file"):
        kramar.evaluate([], shop)
    strange = kramar.train(put_folder(tmp_path / "strange", 12, start=700), tmp_path / "third", rungs="head")
    for split in ("train", "all"):
        with pytest.raises(InputError, match="learnt from these photos, and others did not"):
            kramar.evaluate([trained.path / "model.onnx", strange.path / "model.onnx"], shop, split=split)


def test_a_tree_and_products_have_figures_of_their_own(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    categories = {"Plate": "Round/Plate", "Box": "Edged/Box", "Tent": "Edged/Tent"}
    with (tmp_path / "shop.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "category", "product"])
        for label, category in categories.items():
            # Two photos a product.
            writer.writerows([shop / label / f"{n}.jpg", label, category, f"{label}-{n // 2}"] for n in range(20))
    run = kramar.train(tmp_path / "shop.csv", tmp_path / "run", budget="60s", rungs="head")
    tree, products = run.record.tree, run.record.products
    assert tree is not None
    assert products is not None
    accuracy = run.metrics["test"].accuracy
    assert [one.categories for one in tree.levels] == [2, 3]
    assert tree.levels[1].accuracy == accuracy
    assert tree.levels[0].accuracy.value >= accuracy.value
    assert (products.photos, products.several, products.left_out) == (accuracy.n, accuracy.n // 2, 0)
    assert products.metrics.accuracy.n == accuracy.n // 2
    evaluation = kramar.evaluate(run.model, tmp_path / "shop.csv")
    assert evaluation.tree == tree
    assert evaluation.products is not None
    assert evaluation.products.metrics.accuracy == products.metrics.accuracy
    assert evaluation.products.metrics.log_loss.value == pytest.approx(products.metrics.log_loss.value, abs=2e-5)
    show_evaluation(evaluation)
    words = capsys.readouterr().out
    assert f"level 1, of 2      {tree.levels[0].accuracy.value:6.1%}" in words
    assert f"of {accuracy.n // 2}, each by all of its photos" in words
    report = run.report.read_text(encoding="utf-8")
    assert "Level by level" in report
    assert "Product by product" in report
    # A folder of class folders knows neither, but the model knows its tree.
    plain = kramar.evaluate(run.model, shop)
    assert plain.products is None
    assert plain.tree is not None
