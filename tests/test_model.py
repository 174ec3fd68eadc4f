import io
import itertools
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from drawn import Held, encoded, picture
from kramar.data.listing import PhotoFile
from kramar.errors import ModelFileError
from kramar.records import Prediction
from kramar.runtime.model import BATCH, Answer, Model
from model_files import LABELS, Made, card, tiny

COLOURS = ("red", "green", "blue")


def document(**changes: Any) -> str:
    return json.dumps(json.loads(card(16, COLOURS).model_dump_json()) | changes)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A model that calls a photo by the colour that it has most of."""
    return Model(tiny(tmp_path / "model.onnx", document()))


def plain(colour: str, kind: str = "PNG") -> bytes:
    return encoded(Image.new("RGB", (40, 30), {"red": "#fa0", "green": "#0f8", "blue": "#40f"}[colour]), kind)


# What is no model file


def complaint(path: Path) -> str:
    with pytest.raises(ModelFileError) as raised:
        Model(path)
    said = str(raised.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    return said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "no such model file" in complaint(tmp_path / "model.onnx")
    assert "no such model file" in complaint(tmp_path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found an empty file; copy it again from its run"),
        (b"apples and pears\n", "found 17 bytes that are none, or only a part of one; copy it again from its run"),
        (b"\x89PNG\r\n\x1a\n", "found 8 bytes that are none"),
        (b"\x80\x04\x95" * 50, "found 150 bytes that are none"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "found a Git LFS pointer to one; fetch the file",
        ),
    ],
)
def test_a_file_that_is_no_onnx(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    said = complaint(path)
    assert "expected an ONNX model that ONNX Runtime" in said
    assert found in said


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ir_version": 99}, "(Unsupported model IR version: 99, max supported IR version: "),
        ({"operator": "Nope"}, "(This is an invalid model. "),
    ],
)
def test_a_model_of_a_newer_onnx(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    path = tiny(tmp_path / "model.onnx", document())
    newer = onnx.load(path)
    newer.ir_version = change.get("ir_version", newer.ir_version)
    newer.graph.node[-1].op_type = change.get("operator", newer.graph.node[-1].op_type)
    onnx.save(newer, path)
    said = complaint(path)
    assert f"found one that it cannot run {why}" in said
    assert said.endswith("upgrade with pip install -U onnxruntime")
    assert "ONNXRuntimeError" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not UTF-8")
def test_a_model_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    path = tiny(tmp_path / "model.onnx", document())
    odd = path.rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.onnx"))
    assert [found.label for found in Model(odd).classify([plain("green")])] == ["green"]
    odd.write_bytes(b"")
    assert "found an empty file" in complaint(odd)


def test_a_photo_whose_name_is_not_utf_8(model: Model) -> None:
    (found,) = model.classify(["/nowhere/caf\udce9.jpg"])
    assert (found.image, found.error) == ("/nowhere/caf\\udce9.jpg", "no such file")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.6, 0.9, 0.9999])
def test_a_truncated_file(made: Made, tmp_path: Path, share: float) -> None:
    whole = made.path.read_bytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(whole[: int(len(whole) * share)])
    complaint(path)


def test_an_onnx_file_that_is_not_kramars(made: Made, tmp_path: Path) -> None:
    assert "not a kramar model file (no 'kramar' metadata)" in complaint(made.converted)
    assert "not a kramar model file" in complaint(tiny(tmp_path / "model.onnx", None))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("", "Invalid JSON"),
        ("{", "Invalid JSON"),
        ("[]", "at the document"),
        ("null", "at the document"),
        (document(classes="red"), "at classes"),
        (document(classes=[{"label": "red"}]), r"at classes.0.category"),
        (document(temperature="warm"), "at temperature"),
        (document(resize={"size": 16, "crop": 0.875}), "at resize.filter"),
        (json.dumps({"schema_version": 1}), "at kramar"),
    ],
)
def test_broken_metadata_says_where(tmp_path: Path, broken: str, said: str) -> None:
    found = complaint(tiny(tmp_path / "model.onnx", broken))
    assert "broken 'kramar' metadata" in found
    assert said in found


@pytest.mark.parametrize(
    "newer",
    [
        document(schema_version=2, kramar="9.1"),
        json.dumps({"schema_version": 2, "kramar": "9.1", "labels": ["other", "keys"]}),
    ],
)
def test_a_newer_schema_asks_for_an_upgrade(tmp_path: Path, newer: str) -> None:
    said = complaint(tiny(tmp_path / "model.onnx", newer))
    assert "written for a newer kramar (9.1); upgrade with pip install -U kramar" in said


def test_keys_of_a_newer_kramar_in_the_same_schema_are_ignored(tmp_path: Path) -> None:
    assert Model(tiny(tmp_path / "model.onnx", document(thresholds={"auto": 0.9}))).classes == list(COLOURS)


def test_outputs_that_do_not_fit_the_classes(tmp_path: Path) -> None:
    assert "do not fit the 3 classes" in complaint(tiny(tmp_path / "model.onnx", document(), classes=2))


def test_an_input_that_does_not_fit_the_pixels(tmp_path: Path) -> None:
    assert "its input does not fit the 16 x 16 pixels" in complaint(tiny(tmp_path / "model.onnx", document(), size=20))


# What a model says of photos


def test_a_model_knows_its_card(made: Made) -> None:
    model = Model(made.path, threads=1)
    assert model.card == made.card
    assert model.classes == list(LABELS)
    assert model.milliseconds() > 0


def test_scores_are_those_that_it_was_made_from(made: Made) -> None:
    model = Model(made.path)
    found = model.scores(made.images)
    assert found.dtype == np.float32
    assert found == pytest.approx(made.source, abs=1e-5)
    assert np.concatenate([model.scores(made.images[i : i + 1]) for i in range(3)]) == pytest.approx(
        found[:3], abs=1e-6
    )


def test_every_kind_of_photo_gives_the_same_prediction(model: Model, tmp_path: Path) -> None:
    data = encoded(picture(50, 40, 8), "PNG")
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    image = Image.open(io.BytesIO(data))
    kinds: list[Any] = [str(path), path, data, image, np.asarray(picture(50, 40, 8)), PhotoFile(path), Held(data)]
    predictions = model.classify(kinds)
    assert len({(one.label, one.probability) for one in predictions}) == 1
    assert [one.image for one in predictions] == [str(path), str(path), "", "", "", str(path), ""]


def test_a_prediction_is_a_softmax_of_what_the_graph_saw(model: Model) -> None:
    red = model.classify([plain("red")])[0]
    # The mean colours are 255, 170 and 0.
    assert red.probability == pytest.approx(1 / (1 + math.exp(-85) + math.exp(-255)))
    assert (red.label, red.category, red.error) == ("red", "Fruit/red", "")
    assert [one.label for one in red.top] == ["red", "green", "blue"]
    assert [one.probability for one in red.top] == sorted((one.probability for one in red.top), reverse=True)


@pytest.mark.parametrize(("top", "listed"), [(0, 1), (1, 1), (2, 2), (9, 3)])
def test_top_lists_as_many_as_there_are(model: Model, top: int, listed: int) -> None:
    assert len(model.classify([plain("blue")], top)[0].top) == listed


def test_equal_probabilities_keep_the_order_of_the_classes(model: Model) -> None:
    found = model.predict("a.jpg", Answer(np.array([0.25, 0.5, 0.25], np.float32)))
    assert [one.label for one in found.top] == ["green", "red", "blue"]
    assert found.image == "a.jpg"


def test_one_photo_need_not_be_in_a_list(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(plain("green"))
    for one in (path, str(path), plain("green")):
        assert [found.label for found in model.classify(one)] == ["green"]
    with Image.open(path) as image:
        assert [found.label for found in model.classify(image)] == ["green"]
        pixels = np.asarray(image.convert("RGB"))
    assert [found.label for found in model.classify(pixels)] == ["green"]
    assert [found.label for found in model.classify(np.stack([pixels, pixels]))] == ["green"] * 2
    assert model.classify([]) == []


def test_bad_photos_among_good_ones_carry_their_error(model: Model, tmp_path: Path) -> None:
    photos: list[Any] = [plain(colour) for colour in itertools.islice(itertools.cycle(COLOURS), 21)]
    photos[0], photos[9], photos[20] = b"", tmp_path / "gone.jpg", np.zeros((4, 4), np.float32)
    found = model.classify(photos)
    assert [one.label for one in found] == [
        "" if place in (0, 9, 20) else COLOURS[place % 3] for place in range(len(photos))
    ]
    assert found[0] == Prediction(image="", error="the file is empty (0 bytes)")
    assert found[9] == Prediction(image=str(tmp_path / "gone.jpg"), error="no such file")
    assert found[20].error.startswith("expected a uint8 array")


def test_a_batch_of_bad_photos_alone(model: Model) -> None:
    assert all(one.error for one in model.classify([b"apples"] * (BATCH + 1)))


def test_an_endless_stream_is_classified_in_constant_memory(model: Model) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield plain(COLOURS[taken % 3])

    stream = model.stream(endless())
    found = list(itertools.islice(stream, 100))
    assert [one.label for one in found[:3]] == ["green", "blue", "red"]
    assert taken <= 100 + 6 * BATCH
    stream.close()  # type: ignore[attr-defined]


def test_scores_stream_with_their_photos(model: Model) -> None:
    photos = [Held(plain(colour)) for colour in COLOURS]
    found = list(model.stream_scores(photos))
    assert [photo for photo, _ in found] == photos
    assert [int(np.argmax(scores)) for _, scores in found if not isinstance(scores, Exception)] == [0, 1, 2]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "GIF"])
def test_formats_change_no_label(model: Model, kind: str) -> None:
    assert [one.label for one in model.classify([plain(colour, kind) for colour in COLOURS])] == list(COLOURS)
