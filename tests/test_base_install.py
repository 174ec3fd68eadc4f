"""Without the training libraries: model files are used, and training says what it needs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from kramar import Run
from products import put_folder
from shell import complaint, kramar

MISSING = (
    "torch", "torchvision", "timm", "sklearn", "scipy", "onnxscript", "openvino", "pyarrow", "jinja2",
    "filelock", "accelerate", "safetensors", "huggingface_hub", "optuna", "fastapi", "uvicorn", "prometheus_client",
    "starlette",
)  # fmt: skip
# As if they were not installed: nothing finds them.
WITHOUT = f"""import sys
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {MISSING}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, NotInstalled())
pass"""


@pytest.fixture
def table(shop: Path, tmp_path: Path) -> Path:
    path = tmp_path / "some.csv"
    rows = [(str(photo), kind.name) for kind in sorted(shop.iterdir()) for photo in sorted(kind.iterdir())[:3]]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "label"), *rows])
    return path


def test_the_hook_hides_what_is_installed(shop: Path) -> None:
    for name in MISSING:
        done = kramar(first=f"{WITHOUT}\nimport {name}")
        assert f"No module named '{name}'" in done.stderr
        break


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_classify(trained: Run, shop: Path, table: Path, suffix: str) -> None:
    out = table.parent / f"out.{suffix}"
    done = kramar("classify", trained.path / "model.onnx", shop / "Box", table, "--out", out, first=WITHOUT)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"29 photos to {out}\n"
    assert out.exists()


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_evaluate(trained: Run, shop: Path, table: Path, kind: str) -> None:
    done = kramar("evaluate", trained.path / "model.onnx", shop if kind == "folder" else table, first=WITHOUT)
    assert done.returncode == 0, done.stderr
    assert f"n = {trained.record.data.split['test'] if kind == 'folder' else 9}" in done.stdout


def test_decide(trained: Run, tmp_path: Path) -> None:
    new = put_folder(tmp_path / "new", 12, start=600)
    model, out = trained.path / "model.onnx", tmp_path / "decided.onnx"
    done = kramar("decide", model, new, "--precision", "0.5", "--out", out, first=WITHOUT)
    assert done.returncode == 0, done.stderr
    assert "looking for near twins needs the 'train' extra" in done.stderr
    assert out.is_file()


def test_train_says_what_to_install(shop: Path, tmp_path: Path) -> None:
    done = kramar("train", shop, "--out", tmp_path / "run", first=WITHOUT)
    assert "needs the 'train' extra: pip install 'kramar[train]'" in complaint(done, 2)
    assert not (tmp_path / "run").exists()


def test_tuning_says_what_to_install(shop: Path, tmp_path: Path) -> None:
    done = kramar("tune", shop, "--architecture", "convnet", "--out", tmp_path / "run", first=WITHOUT)
    assert "needs the 'train' extra: pip install 'kramar[train]'" in complaint(done, 2)
    assert not (tmp_path / "run").exists()


def test_serving_says_what_to_install(trained: Run) -> None:
    done = kramar("serve", trained.path / "model.onnx", first=WITHOUT)
    assert "kramar serve needs the 'serve' extra: pip install 'kramar[serve]'" in complaint(done, 2)


def test_reviewing_says_what_to_install(trained: Run) -> None:
    done = kramar("review", trained.path, first=WITHOUT)
    assert "kramar review needs the 'serve' extra: pip install 'kramar[serve]'" in complaint(done, 2)


def test_parquet_says_what_to_install(trained: Run, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "some.parquet").write_bytes(b"PAR1")
    for arguments in ((tmp_path / "some.parquet",), (shop, "--out", tmp_path / "out.parquet")):
        done = kramar("classify", trained.path / "model.onnx", *arguments, first=WITHOUT)
        assert "Parquet needs the 'train' extra: pip install 'kramar[train]'" in complaint(done, 2)
    assert not (tmp_path / "out.parquet").exists()
