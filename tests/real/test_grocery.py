"""Real photos, a small part of Grocery Store: the way from a table to labels, with and without kramar."""

from __future__ import annotations

import csv
import functools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import kramar
from kramar import Run

# The other rungs have tests of their own.
train = functools.partial(kramar.train, rungs="head")

CLASSES = (
    "Banana", "Carrots", "Ginger", "Golden-Delicious", "Kiwi", "Lemon", "Orange", "Red-Bell-Pepper",
)  # fmt: skip
MOST = {"train": 20, "val": 6, "test": 15}
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "model-file.md"


@pytest.fixture(scope="module")
def table(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first photos of eight classes, in the official split."""
    source = shared / "data" / "grocery" / "products.csv"
    path = tmp_path_factory.mktemp("grocery") / "products.csv"
    taken: Counter[tuple[str, str]] = Counter()
    with source.open(newline="", encoding="utf-8") as file, path.open("w", newline="", encoding="utf-8") as out:
        rows = csv.DictReader(file)
        writer = csv.DictWriter(out, rows.fieldnames or [])
        writer.writeheader()
        for row in rows:
            place = row["label"], row["split"]
            if row["label"] in CLASSES and taken[place] < MOST[row["split"]]:
                taken[place] += 1
                writer.writerow({**row, "image": str(source.parent / row["image"])})
    return path


@pytest.fixture(scope="module")
def run(table: Path) -> Run:
    return train(table, table.parent / "run")


@pytest.fixture(scope="module")
def photos(table: Path) -> list[str]:
    with table.open(newline="", encoding="utf-8") as file:
        return [row["image"] for row in csv.DictReader(file) if row["split"] == "test"]


def test_it_is_far_better_than_chance(run: Run) -> None:
    assert run.model.classes == sorted(CLASSES)
    accuracy = run.metrics["test"].accuracy
    assert accuracy.n == 8 * 15
    assert accuracy.low > 0.8
    assert run.metrics["test"].calibration_error.value < 0.15
    assert all(entry.category.endswith(f"/{entry.label}") for entry in run.model.card.classes)


def test_the_file_gives_the_figures_of_the_run(run: Run, table: Path) -> None:
    evaluation = kramar.evaluate(run.path / "model.onnx", table)
    assert evaluation.metrics.accuracy == run.metrics["test"].accuracy
    for name, estimate in evaluation.metrics:
        assert dict(estimate) == pytest.approx(dict(getattr(run.metrics["test"], name)), abs=1e-4), name


def test_the_documented_script_gives_the_labels_of_kramar(run: Run, photos: list[str], tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "alone.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "alone.py", run.path / "model.onnx", *photos],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    predictions = list(kramar.classify(run.path / "model.onnx", photos))
    assert [line[:2] for line in lines] == [[prediction.image, prediction.label] for prediction in predictions]
    for line, prediction in zip(lines, predictions, strict=True):
        assert float(line[2]) == pytest.approx(prediction.probability, abs=1e-3)
