"""``kramar export``: each format opened again and compared; folders that are whole or absent, and its own."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import kramar
from drawn import Told
from kramar.errors import ExportError, FailedError, InputError
from kramar.exporting import exported, formats, onnx_file
from kramar.exporting.exported import Source
from kramar.exporting.formats import web
from kramar.files import sha256
from kramar.records import Decisions, Promise
from kramar.runtime.model import Model
from model_files import Made
from shell import complaint
from shell import kramar as run_kramar
from test_base_install import WITHOUT
from test_docs import ROOT
from weights_server import serve

TARBALL = os.environ.get("KRAMAR_ONNXRUNTIME_WEB", "")
needs_tarball = pytest.mark.skipif(
    not TARBALL, reason="needs onnxruntime-web's tarball, named by KRAMAR_ONNXRUNTIME_WEB"
)
FORMATS = [pytest.param(name, marks=needs_tarball if name == "web" else ()) for name in formats.NAMES]


def decisions(auto: Promise) -> Decisions:
    return Decisions(precision_target=0.98, auto=auto, coarse=Promise(), set_coverage=0.95)


def package(name: str) -> Path | None:
    return Path(TARBALL) if formats.find(name).package else None


@pytest.fixture(scope="module")
def photos(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the shop's photos, and one that is broken."""
    folder = tmp_path_factory.mktemp("photos")
    for number, path in enumerate(sorted(shop.rglob("*.jpg"))[::3]):
        shutil.copy(path, folder / f"{number}.jpg")
    (folder / "broken.png").write_bytes(b"apples and pears")
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_says_what_the_model_file_says(
    name: str, trained: kramar.Run, photos: Path, tmp_path: Path
) -> None:
    told, out, model = Told(), tmp_path / "out", trained.model
    done = kramar.export(model, out, format=name, photos=photos, package=package(name), progress=told)
    assert any("broken.png" in said and "left out" in said for said in told.said)
    assert (done.format, done.comparison.photos, done.comparison.drawn) == (name, 20, False)
    form = formats.find(name)
    images = np.stack([model.pixels(path) for path in sorted(photos.glob("*.jpg"))])
    same = form.opened(out)(images).argmax(axis=1) == model.scores(images).argmax(axis=1)
    assert same.mean() >= form.agreement
    assert round(20 * (1 - same.mean())) == done.comparison.label_differences
    record = json.loads((out / "kramar.json").read_text(encoding="utf-8"))
    assert record["source"] == sha256(model.path)
    assert record["files"] == {file: sha256(out / file) for file in done.files if file != "kramar.json"}
    assert [one["label"] for one in record["card"]["classes"]] == model.classes
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_documented(name: str) -> None:
    assert f"--format {name}" in (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    assert formats.find(name).name == name


def test_without_photos_noise_is_compared(made: Made, tmp_path: Path) -> None:
    done = kramar.export(made.path, tmp_path / "out", format="openvino")
    assert (done.comparison.photos, done.comparison.drawn) == (32, True)
    assert done.comparison.largest_difference <= exported.TOLERANCE


def test_an_int8_copy_promises_nothing_that_was_not_measured_of_it(
    trained: kramar.Run, photos: Path, tmp_path: Path
) -> None:
    path = trained.path / "model.onnx"
    promised = Model(path).card.model_copy(
        update={"decisions": decisions(auto=Promise(threshold=0.7, photos=200, guaranteed=True))}
    )
    onnx_file.describe(path, promised, tmp_path / "sure.onnx")
    kramar.export(tmp_path / "sure.onnx", tmp_path / "out", format="onnx-int8", photos=photos)
    copy = tmp_path / "out" / "model.onnx"
    card = Model(copy).card
    assert (card.storage, card.metrics) == ("int8", {})
    assert card.decisions == decisions(auto=Promise(threshold=0.7, photos=200, guaranteed=False))
    # What tells unknown photos stays as it was, in float16.
    assert copy.stat().st_size < 0.32 * path.stat().st_size
    # What stands on the logits is as it was, and the unknown score has a temperature of its own.
    above = [
        [node for node in onnx.load(one).graph.node if node.name.startswith(("unknown.", "calibrate", "softmax"))]
        for one in (path, copy)
    ]
    assert above[0] == above[1]
    images = np.stack([Model(path).pixels(photo) for photo in sorted(photos.glob("*.jpg"))])
    score = Model(copy).outputs(images, ["unknown_score"])[0]
    warmer = card.model_copy(update={"temperature": 2 * card.temperature})
    onnx_file.describe(copy, warmer, tmp_path / "warmer.onnx")
    assert np.array_equal(Model(tmp_path / "warmer.onnx").outputs(images, ["unknown_score"])[0], score)
    assert Model(tmp_path / "warmer.onnx").scores(images).max() < Model(copy).scores(images).max()
    with pytest.raises(InputError, match="expected weights stored as float32, found int8"):
        kramar.export(copy, tmp_path / "more", format="onnx-int8", photos=photos)


def test_a_copy_that_gives_other_labels_is_not_kept(made: Made, tmp_path: Path) -> None:
    """Labels of a random head hang by a thread."""
    source = Source(Model(made.path), list(made.images), drawn=False, package=None, progress=Told())
    with pytest.raises(ExportError, match=r"no int8 copy gives its labels on 98% of 10 photos"):
        exported.export(formats.find("onnx-int8"), source, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_int8_needs_photos(made: Made, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--format onnx-int8: needs photos"):
        kramar.export(made.path, tmp_path / "out", format="onnx-int8")
    assert not list(tmp_path.iterdir())


def test_what_says_something_else_is_not_kept(made: Made, tmp_path: Path) -> None:
    model = Model(made.path)
    source = Source(model=model, photos=list(made.images), drawn=False, package=None, progress=Told())
    openvino = formats.find("openvino")
    for agreement, said in (
        (1.0, lambda images: model.scores(images) + np.float32(1e-3)),
        (1.0, lambda images: np.full_like(model.scores(images), np.nan)),
        (0.98, lambda images: model.scores(images)[:, ::-1]),
    ):
        wrong = replace(openvino, opened=lambda _, said=said: said, agreement=agreement)
        with pytest.raises(ExportError, match="it was not kept"):
            exported.export(wrong, source, tmp_path / "out")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ("file", "found a file"),
        ("folder", "found other files"),
        ("other format", "found an export in the format web"),
        ("added", "'notes.txt', which was added or changed since"),
        ("changed", "'model.xml', which was added or changed since"),
    ],
)
def test_what_is_not_its_own_stays(there: str, found: str, made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if there == "file":
        out.write_text("mine")
    elif there == "folder":
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    else:
        kramar.export(made.path, out, format="openvino")
        record = out / "kramar.json"
        if there == "other format":
            record.write_text(record.read_text().replace('"openvino"', '"web"'))
        else:
            (out / ("notes.txt" if there == "added" else "model.xml")).write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=found):
        kramar.export(made.path, out, format="openvino")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_folder_that_the_command_runs_in_is_no_place_for_an_export(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="found the one that the command runs in; name one"):
        kramar.export(made.path, ".", format="openvino")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(made: Made, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert "model.xml" in kramar.export(made.path, tmp_path / "out", format="openvino").files


def test_the_command_line(made: Made, tmp_path: Path) -> None:
    done = run_kramar("export", made.path, "--format", "openvino", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == ["kramar.json", "model.bin", "model.xml"]
    again = run_kramar("export", made.path, "--format", "openvino", "--out", tmp_path / "out")
    assert "as the model file's on 32 of 32 drawn photos" in again.stdout
    wrong = complaint(run_kramar("export", made.path, "--format", "tflite", "--out", tmp_path / "out"), 2)
    assert wrong == "--format: expected onnx-int8, openvino or web, found 'tflite'"
    taken = run_kramar("export", made.path, "--format", "openvino", "--out", tmp_path / "new", "--package", made.path)
    assert "the format openvino takes none" in complaint(taken, 2)
    nothing = run_kramar("export", made.path, "--format", "openvino", "--out", tmp_path / "new", "--photos", "nowhere")
    assert "nowhere: no such photo" in complaint(nothing, 2)
    helped = run_kramar("export", "--help")
    assert all(name in helped.stdout for name in formats.NAMES)


def test_a_package_that_is_another_is_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected the file onnxruntime-web-.*\.tgz, found none"):
        kramar.export(made.path, tmp_path / "out", format="web", package=tmp_path / "nowhere.tgz")
    (tmp_path / "other.tgz").write_bytes(b"apples and pears")
    with pytest.raises(InputError, match="its SHA-512 differs"):
        kramar.export(made.path, tmp_path / "out", format="web", package=tmp_path / "other.tgz")
    assert not (tmp_path / "out").exists()


def test_without_a_network_it_is_said_what_to_do(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9")
    with pytest.raises(FailedError, match=r"could not be fetched \(.*run npm pack onnxruntime-web@.*--package"):
        kramar.export(made.path, tmp_path / "out", format="web")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://registry.example")
    with pytest.raises(FailedError, match="expected an https address"):
        kramar.export(made.path, tmp_path / "out", format="web")
    assert not list(tmp_path.iterdir())


@needs_tarball
def test_the_package_is_fetched_once_and_checked(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRAMAR_CACHE", str(tmp_path / "cache"))
    address = f"onnxruntime-web/-/{web.RUNTIME.file_name}"
    with serve() as shelf:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", shelf.address)
        shelf.files[address] = b"apples and pears"
        with pytest.raises(FailedError, match="what came is not onnxruntime-web"):
            kramar.export(made.path, tmp_path / "out", format="web")
        shelf.files[address] = Path(TARBALL).read_bytes()
        shelf.asked.clear()
        for _ in range(2):
            kramar.export(made.path, tmp_path / "out", format="web")
        assert shelf.asked == [f"GET /{address}"]
    assert [path.name for path in (tmp_path / "cache" / "npm").iterdir()] == [web.RUNTIME.file_name]


def test_without_openvino_it_is_said_what_brings_it(made: Made, tmp_path: Path) -> None:
    done = run_kramar("export", made.path, "--format", "openvino", "--out", tmp_path / "out", first=WITHOUT)
    assert complaint(done, 2) == "exporting to OpenVINO needs the 'train' extra: pip install 'kramar[train]'"


@needs_tarball
def test_the_page_needs_the_base_install_alone(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run_kramar("export", made.path, "--format", "web", "--out", out, "--package", TARBALL, first=WITHOUT)
    assert done.returncode == 0, done.stderr
    assert (out / "model.onnx").read_bytes() == made.path.read_bytes()


def test_columns_without_photos_are_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--columns names those of a table: give one with --photos"):
        kramar.export(made.path, tmp_path / "out", format="openvino", columns={"image": "photo"})
    assert not (tmp_path / "out").exists()
