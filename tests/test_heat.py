"""Heat maps: where a class is seen, however a file stores its last layer, and what `classify --explain` leaves."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kramar
from kramar import ModelFileError, OutputError, Run
from kramar.exporting import storage
from kramar.jobs.classify import heat_file
from kramar.runtime.heat import HeatMaps, drawn
from kramar.runtime.model import Model
from model_files import Made, card, tiny
from products import encoded
from shell import complaint
from shell import kramar as command


def int8(path: Path, target: Path, made: Made) -> None:
    storage.int8_onnxruntime(path, target, list(made.images))


@pytest.mark.parametrize(
    ("store", "close"), [(None, 1e-3), (storage.float16, 0.02), (storage.int8_weights, 0.02), (int8, 0.02)]
)
def test_heat_is_what_a_class_has_above_the_mean_of_all(
    store: Callable[..., None] | None, close: float, made: Made, tmp_path: Path
) -> None:
    path = made.path
    if store is not None:
        path = tmp_path / "small.onnx"
        store(made.path, path, *([made] if store is int8 else []))
    small = Model(path)
    (maps,) = small.outputs(made.images, ["feature_map"])
    classes = np.arange(len(maps)) % len(made.head.bias)
    logits = np.einsum("ndhw,dc->nchw", maps, made.head.weights) + made.head.bias[:, None, None]
    own = logits[np.arange(len(maps)), classes] - logits.mean(axis=1)
    expected = np.maximum(own / own.max(axis=(1, 2), keepdims=True), 0)
    found = HeatMaps(small)(maps, classes)
    assert found.shape == maps.shape[:1] + maps.shape[2:]
    np.testing.assert_allclose(found.max(axis=(1, 2)), 1.0, rtol=1e-6)
    np.testing.assert_allclose(found, expected, atol=close)


def test_a_class_that_is_seen_nowhere_has_no_heat(made: Made) -> None:
    flat = np.zeros((1, made.head.weights.shape[0], 2, 2), np.float32)
    lowest = int(made.head.bias.argmin())
    assert not HeatMaps(Model(made.path))(flat, np.array([lowest])).any()


def test_answers_are_the_same_with_heat_maps(made: Made) -> None:
    model = Model(made.path)
    for plain, explained in zip(model.answers(made.images), HeatMaps(model).explained(made.images), strict=True):
        np.testing.assert_array_equal(plain.probabilities, explained.probabilities)
        assert plain.heat_map == b""
        with Image.open(io.BytesIO(explained.heat_map)) as picture:
            assert (picture.format, picture.size) == ("JPEG", (made.card.resize.size,) * 2)


def test_the_photo_shows_through_where_it_is_cold() -> None:
    photo = np.full((64, 64, 3), (40, 90, 200), np.uint8)
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 1
    with Image.open(io.BytesIO(drawn(photo, heat, quality=95))) as picture:
        found = np.asarray(picture).astype(int)
    # Half of the mean of its colours, and some more, where nothing is seen.
    assert np.abs(found[40:, 40:] - 75).max() <= 4
    # 55% of the photo and 45% of yellow where most is.
    assert np.abs(found[1, 1] - (0.55 * photo[0, 0] + 0.45 * np.array([255, 225, 60]))).max() <= 6


def test_a_file_without_a_feature_map_says_so(tmp_path: Path) -> None:
    path = tiny(tmp_path / "tiny.onnx", card(16, ("red", "green", "blue")).model_dump_json())
    with pytest.raises(ModelFileError, match="heat maps are unavailable"):
        HeatMaps(Model(path))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("photo.jpg", "photo.jpg.heat.jpg"),
        ("new/a/photo", "new/a/photo.heat.jpg"),
        ("../other/photo.png", "other/photo.png.heat.jpg"),
        ("/srv/photos/1.webp", "srv/photos/1.webp.heat.jpg"),
        ("a/../b.jpg", "a/b.jpg.heat.jpg"),
    ],
)
def test_a_heat_map_is_named_like_its_photo_and_stays_in_the_folder(image: str, expected: str) -> None:
    assert heat_file(Path("heat"), image) == Path("heat") / expected


def test_classify_draws_what_can_be_read(trained: Run, tmp_path: Path) -> None:
    photos = tmp_path / "new"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(encoded("Box", 1))
    (photos / "broken.jpg").write_bytes(b"no photo")
    heat, out = tmp_path / "heat", tmp_path / "out.csv"
    done = command("classify", trained.path / "model.onnx", photos, "--out", out, "--explain", heat)
    assert done.returncode == 0, done.stderr
    found = [path.name for path in heat.rglob("*") if path.is_file()]
    assert found == ["a.jpg.heat.jpg"]
    plain = kramar.classify(trained.path / "model.onnx", photos)
    explained = kramar.classify(trained.path / "model.onnx", photos, explain=tmp_path / "again")
    assert list(plain) == list(explained)


def test_a_place_that_is_no_folder(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "heat").write_text("a file")
    (tmp_path / "a.jpg").write_bytes(encoded("Box", 1))
    given = (trained.path / "model.onnx", tmp_path / "a.jpg")
    with pytest.raises(OutputError, match="a file is where a folder was expected"):
        kramar.classify(*given, explain=tmp_path / "heat")
    assert "a file is where a folder" in complaint(command("classify", *given, "--explain", tmp_path / "heat"), 1)
    path = tiny(tmp_path / "tiny.onnx", card(16, ("red", "green", "blue")).model_dump_json())
    done = command("classify", path, tmp_path / "a.jpg", "--explain", tmp_path / "none")
    assert "heat maps are unavailable" in complaint(done, 2)
    assert not (tmp_path / "none").exists()
