"""``kramar.train`` on every kind of data: nested folders, tables with splits of their own, photos in Parquet."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kramar
from products import encoded, put

# The other rungs have tests of their own.
train = functools.partial(kramar.train, rungs="head")


def split_table(folder: Path, parts: Mapping[str, Mapping[str, int]], names: str = "image,label,split") -> Path:
    """``products.csv`` in ``folder`` and its photos: so many a kind in each part, no photo twice."""
    rows: list[tuple[str, str, str]] = []
    for part, kinds in parts.items():
        for kind in [kind for kind, count in kinds.items() for _ in range(count)]:
            name = f"photos/{len(rows)}.png"
            put(folder / name, kind, len(rows))
            rows.append((name, kind, part))
    table = folder / "products.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names.split(","), *rows])
    return table


def test_nested_folders_are_labels_by_their_whole_path(tmp_path: Path) -> None:
    leaves = {"Food/Round": "Plate", "Toys/Round": "Tent", "Toys/Square/Small": "Box"}
    for label, kind in leaves.items():
        for number in range(8):
            put(tmp_path / "shop" / label / f"{number}.jpg", kind, number)
    run = train(tmp_path / "shop", tmp_path / "run")
    assert run.model.classes == sorted(leaves)
    assert [entry.category for entry in run.model.card.classes] == sorted(leaves)
    assert any("too small to split well" in warning for warning in run.record.data.warnings)


def test_a_table_with_its_own_split(tmp_path: Path) -> None:
    parts = {
        "train": {"Plate": 12, "Box": 12},
        "valid": {"Plate": 6},
        "test": {"Plate": 5, "Box": 5, "Tent": 4},
    }
    run = train(split_table(tmp_path / "shop", parts), tmp_path / "run")
    data = run.record.data
    assert (data.split, data.split_from) == ({"train": 24, "val": 6, "test": 14}, "table")
    assert run.model.classes == ["Box", "Plate"]
    scores = {score.label: score for score in run.record.classes}
    assert scores["Tent"].recall is not None
    assert (scores["Tent"].recall.value, scores["Tent"].photos) == (0, {"train": 0, "val": 0, "test": 4})
    assert run.metrics["test"].accuracy.n == 14
    assert run.metrics["test"].accuracy.value <= 10 / 14, "photos of an unknown class are mistakes"
    assert any("'Tent'" in warning and "without a training photo" in warning for warning in data.warnings)


def test_a_table_without_test_rows(tmp_path: Path) -> None:
    parts = {"train": {"Plate": 10, "Box": 10}, "val": {"Plate": 3, "Box": 3}}
    run = train(split_table(tmp_path / "shop", parts), tmp_path / "run")
    assert list(run.metrics) == ["val"]
    assert run.record.data.split["test"] == 0
    assert "Not tested." in run.report.read_text(encoding="utf-8")


def test_a_table_of_other_columns_with_training_rows_only(tmp_path: Path) -> None:
    table = split_table(tmp_path / "shop", {"train": {"Plate": 12, "Box": 12}}, "photo,group,part")
    run = train(table, tmp_path / "run", columns={"image": "photo", "label": "group", "split": "part"})
    assert run.record.data.split_from == "table"
    assert "--columns image=photo,label=group,split=part" in run.record.command
    assert run.record.data.split["val"] + run.record.data.split["train"] == 24
    assert "test" not in run.metrics
    assert run.record.verification.photos > 0


def test_parquet_as_hugging_face_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["Box", "Plate", "Tent"]
    photos = [(kind, number) for number in range(10) for kind in names]
    info = {"info": {"features": {"label": {"_type": "ClassLabel", "names": names}}}}
    table = pa.table(
        {
            "image": pa.array(
                [{"bytes": encoded(kind, number, "PNG"), "path": f"{kind}-{number}.png"} for kind, number in photos],
                pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            ),
            "label": pa.array([names.index(kind) for kind, _ in photos], pa.int64()),
        }
    ).replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, "shop.parquet")
    run = train("shop.parquet")
    assert run.path == Path("kramar-runs/shop"), "the default is named after the data"
    assert (run.model.classes, run.record.data.photos) == (names, 30)
    rows = pq.read_table(run.path / "manifest.parquet").to_pylist()
    assert [row["image"] for row in rows] == [f"{kind}-{number}.png" for kind, number in photos]


def test_photos_that_are_there_twice_are_counted(tmp_path: Path) -> None:
    parts = {"train": {"Plate": 10, "Box": 10}, "val": {"Plate": 3, "Box": 3}, "test": {"Plate": 2, "Box": 2}}
    table = split_table(tmp_path / "shop", parts)
    with table.open("a", encoding="utf-8") as file:
        file.write("photos/0.png,Box,train\nphotos/1.png,Plate,test\n")
    run = train(table, tmp_path / "run")
    assert run.record.data.photos == 32
    warnings = " ".join(run.record.data.warnings)
    assert "1 photo(s) are there more than once with different labels" in warnings
    assert "1 test photo(s) are also in training or validation, byte for byte" in warnings
