import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from scipy.special import softmax

from drawn import Held, Told
from kramar.errors import ExportError, OutputError
from kramar.exporting import onnx_file
from kramar.models.linear import Linear
from kramar.progress import Silent
from kramar.records import Verification
from kramar.runtime.model import Model
from model_files import LABELS, PHOTOS, TEMPERATURE, Made

Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def session(made: Made) -> ort.InferenceSession:
    return ort.InferenceSession(made.path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def outputs(session: ort.InferenceSession, made: Made) -> dict[str, npt.NDArray[np.float32]]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": made.images}), strict=True))


# The contract of docs/model-file.md


def test_the_inputs_and_outputs_are_those_of_the_contract(session: ort.InferenceSession, made: Made) -> None:
    d = made.head.weights.shape[0]
    inputs = [(one.name, one.type, one.shape) for one in session.get_inputs()]
    assert inputs == [("images", "tensor(uint8)", ["N", 224, 224, 3])]
    assert [(one.name, one.type, one.shape) for one in session.get_outputs()] == [
        ("probabilities", "tensor(float)", ["N", 7]),
        ("logits", "tensor(float)", ["N", 7]),
        ("embedding", "tensor(float)", ["N", d]),
        ("feature_map", "tensor(float)", ["N", d, 7, 7]),
    ]


@pytest.mark.parametrize("n", [1, 3, 10])
def test_it_takes_any_number_of_photos(session: ort.InferenceSession, made: Made, n: int) -> None:
    found = session.run(["probabilities"], {"images": made.images[:n]})[0]
    assert found.shape == (n, 7)
    assert found == pytest.approx(made.source[:n], abs=1e-5)


def test_the_embedding_is_the_mean_of_the_feature_map(outputs: dict[str, npt.NDArray[np.float32]]) -> None:
    assert outputs["embedding"] == pytest.approx(outputs["feature_map"].mean(axis=(2, 3)), rel=1e-4, abs=1e-5)


def test_logits_are_the_linear_layer_on_the_embedding(outputs: dict[str, npt.NDArray[np.float32]], made: Made) -> None:
    expected = outputs["embedding"].astype(np.float64) @ made.head.weights.astype(np.float64) + made.head.bias
    assert outputs["logits"] == pytest.approx(expected, abs=1e-4)
    # So a class's heat map, weighted by its row and averaged, is its logit again.
    heat = np.einsum("ndhw,dc->nchw", outputs["feature_map"].astype(np.float64), made.head.weights)
    assert heat.mean(axis=(2, 3)) + made.head.bias == pytest.approx(expected, abs=1e-3)


def test_probabilities_are_the_softmax_at_the_temperature(outputs: dict[str, npt.NDArray[np.float32]]) -> None:
    assert outputs["probabilities"] == pytest.approx(softmax(outputs["logits"] / TEMPERATURE, axis=1), abs=1e-6)
    assert outputs["probabilities"].sum(axis=1) == pytest.approx(np.ones(10), abs=1e-5)


def test_the_metadata_is_one_json_document(session: ort.InferenceSession, made: Made) -> None:
    metadata = session.get_modelmeta().custom_metadata_map
    assert list(metadata) == ["kramar"]
    card = json.loads(metadata["kramar"])
    assert card["schema_version"] == 1
    assert card["classes"] == [{"label": label, "category": f"Fruit/{label}"} for label in LABELS]
    assert card["resize"] == {"size": 224, "crop": 0.875, "filter": "bicubic"}
    assert card["temperature"] == TEMPERATURE
    assert {"kramar", "backbone", "rung", "storage", "metrics", "data_fingerprint", "split"} <= card.keys()
    assert {"weights_source", "weights_licence"} <= card.keys()
    assert json.loads(made.card.model_dump_json()) == card


def test_the_file_is_whole_and_says_nothing_of_the_machine_that_made_it(made: Made) -> None:
    model = onnx.load(made.path, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    content = made.path.read_bytes()
    for word in (b"site-packages", b".py", str(Path.home()).encode() + b"/"):
        assert word not in content, word
    assert (model.producer_name, model.producer_version) == ("kramar", "0.1.0")
    assert [path.name for path in made.path.parent.iterdir()] == ["model.onnx"]


def test_parameters_are_the_backbones_and_the_heads(made: Made) -> None:
    d = made.head.weights.shape[0]
    assert onnx_file.parameters(made.path) == onnx_file.parameters(made.converted) + 7 * d + 7
    # EfficientNet-Lite0 has 4.65 million parameters, 1.28 million of them in its ImageNet classifier.
    assert onnx_file.parameters(made.path) == pytest.approx(3.37e6 + 7 * d, rel=0.02)


def test_writing_again_writes_the_same_bytes(made: Made, tmp_path: Path) -> None:
    onnx_file.write(made.converted, made.head, made.card, tmp_path / "again.onnx", [], np.zeros((0, 1)), Silent())
    assert (tmp_path / "again.onnx").read_bytes() == made.path.read_bytes()


# Verification


def test_a_faithful_file_is_verified_on_every_photo(made: Made) -> None:
    assert (made.verification.photos, made.verification.label_differences) == (10, 0)
    assert 0 <= made.verification.largest_difference < 1e-5


def shifted(source: Floats, by: float, photo: int = 4) -> Floats:
    """``by`` moved from the most probable class of one photo to the next."""
    changed = source.copy()
    first, second = np.argsort(-changed[photo])[:2]
    changed[photo, first] -= by
    changed[photo, second] += by
    return changed


@pytest.mark.parametrize("by", [2e-4, 0.9, float("nan")])
@pytest.mark.parametrize("old", [None, b"the model of before"])
def test_a_file_that_differs_from_its_source_leaves_nothing(
    made: Made, tmp_path: Path, by: float, old: bytes | None
) -> None:
    path = tmp_path / "model.onnx"
    if old:
        path.write_bytes(old)
    with pytest.raises(ExportError, match="differs from its source"):
        onnx_file.write(made.converted, made.head, made.card, path, PHOTOS, shifted(made.source, by), Silent())
    assert [one.name for one in tmp_path.iterdir()] == (["model.onnx"] if old else [])
    assert (path.read_bytes() if old else None) == old


def test_another_head_is_found_out(made: Made, tmp_path: Path) -> None:
    other = Linear(made.head.weights, (made.head.bias + np.arange(7)).astype(np.float32))
    with pytest.raises(ExportError, match=r"on [1-9]\d* of 10 labels"):
        onnx_file.write(made.converted, other, made.card, tmp_path / "m.onnx", PHOTOS, made.source, Silent())
    assert list(tmp_path.iterdir()) == []


def test_another_temperature_is_found_out(made: Made, tmp_path: Path) -> None:
    card = made.card.model_copy(update={"temperature": TEMPERATURE * 1.01})
    with pytest.raises(ExportError, match="on 0 of 10 labels"):
        onnx_file.write(made.converted, made.head, card, tmp_path / "m.onnx", PHOTOS, made.source, Silent())


def test_a_difference_within_the_tolerance_is_told(made: Made) -> None:
    found = onnx_file.verify(Model(made.path), PHOTOS, shifted(made.source, 5e-5), Silent())
    assert found.photos == 10
    assert found.largest_difference == pytest.approx(5e-5, abs=2e-6)


def test_a_tie_has_no_label_to_give(made: Made) -> None:
    """Two classes alike but for 1e-5: which is first says nothing, and the other order is no difference."""
    source = made.source.copy()
    first, second = np.argsort(-source[0])[:2]
    gap = source[0, first] - source[0, second]
    assert gap > 1e-3

    class Swapped(Model):
        def scores(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            found = super().scores(images)
            mean = (found[0, first] + found[0, second]) / 2
            found[0, [first, second]] = mean - 1e-5, mean + 1e-5
            return found

    source[0, [first, second]] = source[0, [first, second]].mean() + np.array([1e-5, -1e-5])
    found = onnx_file.verify(Swapped(made.path), PHOTOS[:1], source[:1], Silent())
    assert found.label_differences == 0


def test_a_file_that_names_other_classes_than_it_tells_apart_is_found_out(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "classes", [*LABELS, "Guava"])
    with pytest.raises(ExportError, match=rf"tells {len(LABELS)} classes apart and names {len(LABELS) + 1}"):
        onnx_file.verify(Model(made.path), PHOTOS, made.source, Silent())


def test_a_photo_that_became_unreadable_stops_the_export(made: Made) -> None:
    with pytest.raises(ExportError, match="readable before"):
        onnx_file.verify(Model(made.path), [PHOTOS[0], Held(b"apples")], made.source[:2], Silent())


def test_without_photos_there_is_nothing_to_compare(made: Made) -> None:
    found = onnx_file.verify(Model(made.path), [], made.source[:0], Silent())
    assert found == Verification(photos=0, label_differences=0, largest_difference=0.0)


def test_verification_tells_of_itself(made: Made) -> None:
    told = Told()
    onnx_file.verify(Model(made.path), PHOTOS, made.source, told)
    assert told.stages == [["Verifying the model file", 10, 10]]


def test_a_place_that_cannot_be_written_is_an_output_error(made: Made, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "model.onnx"
    with pytest.raises(OutputError):
        onnx_file.write(made.converted, made.head, made.card, path, PHOTOS, made.source, Silent())
