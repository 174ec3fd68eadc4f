"""Smaller copies of a model file: what they take, what they keep."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from kramar.errors import ExportError
from kramar.exporting import onnx_file, storage
from kramar.runtime.model import Model
from model_files import Made


def weights_bytes(path: Path) -> int:
    return sum(len(tensor.raw_data) for tensor in onnx.load(path).graph.initializer)


@pytest.mark.parametrize(
    ("make", "share", "close"),
    [(storage.float16, 0.52, 5e-3), (storage.int8_weights, 0.3, 0.2), (storage.int4_weights, 0.2, 1.0)],
)
def test_weights_are_stored_smaller_and_give_nearly_the_same(
    make: Callable[[Path, Path], None], share: float, close: float, made: Made, tmp_path: Path
) -> None:
    target = tmp_path / "small.onnx"
    make(made.path, target)
    assert target.stat().st_size <= share * made.path.stat().st_size
    small, whole = Model(target), Model(made.path)
    assert small.card == whole.card
    found, expected = small.scores(made.images), whole.scores(made.images)
    assert found.dtype == np.float32
    assert float(np.abs(found - expected).max()) < close
    assert not np.array_equal(found, expected)


def test_int8_weights_are_a_scale_a_channel(made: Made, tmp_path: Path) -> None:
    target = tmp_path / "small.onnx"
    storage.int8_weights(made.path, target)
    before = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(made.path).graph.initializer}
    after = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(target).graph.initializer}
    name = next(name for name, value in before.items() if value.ndim == 4 and value.size > 1024)
    levels, scale = after[f"{name}.int8"], after[f"{name}.scale"]
    assert (levels.dtype, scale.shape) == (np.int8, (before[name].shape[0], 1, 1, 1))
    restored = levels * scale
    # At most half a level away, each channel by its own.
    assert bool((np.abs(restored - before[name]).max(axis=(1, 2, 3)) <= 0.5001 * scale[:, 0, 0, 0] + 1e-12).all())
    assert np.abs(levels).max(axis=(1, 2, 3)).min() == 127
    assert before["head.bias"].tolist() == after["head.bias"].tolist()
    # Embeddings share a large mean: what rounds the last layer's weights moves classes for all photos alike.
    np.testing.assert_array_equal(after["head.weight.float16"], before["head.weight"].astype(np.float16))


def coarse(path: Path, target: Path) -> None:
    """The model file with weights of pointwise convolutions that are a few whole numbers of a step a channel."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if storage.pointwise(tensor.dims):
            weights = onnx.numpy_helper.to_array(tensor)
            # Not all channels reach the seventh step.
            step = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / np.float32(5 + len(weights) % 3)
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.rint(weights / step) * step, tensor.name))
    onnx.save(model, target)


def test_weights_of_four_bits_lose_nothing_of_few_whole_numbers(made: Made, tmp_path: Path) -> None:
    learnt, target = tmp_path / "learnt.onnx", tmp_path / "small.onnx"
    coarse(made.path, learnt)
    storage.int4_weights(learnt, target)
    assert target.stat().st_size < 0.2 * learnt.stat().st_size
    before = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(learnt).graph.initializer}
    whole = onnx.load(target)
    # What the graph makes of each, as any runtime would.
    names = [name for name, value in before.items() if storage.pointwise(value.shape)]
    assert len(names) > 20
    del whole.graph.output[:]
    whole.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, before[name].shape) for name in names
    )
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(names, {"images": made.images[:1]})
    for name, value in zip(names, found, strict=True):
        np.testing.assert_allclose(value, before[name], rtol=1e-5, atol=1e-7)
    assert Model(target).card == Model(made.path).card


def test_the_bytes_of_int8_weights_are_known_before(made: Made, tmp_path: Path) -> None:
    target = tmp_path / "small.onnx"
    storage.int8_weights(made.path, target)
    assert storage.int8_bytes(made.path) == pytest.approx(target.stat().st_size, rel=0.1)


@pytest.mark.parametrize("make", [storage.int8_onnxruntime, storage.int8_nncf])
def test_the_first_convolutions_can_stay_exact(make: Callable[..., None], made: Made, tmp_path: Path) -> None:
    make(made.path, tmp_path / "all.onnx", list(made.images)[:8])
    make(made.path, tmp_path / "some.onnx", list(made.images)[:8], 20)
    counts = [
        sum(node.op_type == "QuantizeLinear" for node in onnx.load(tmp_path / name).graph.node)
        for name in ("all.onnx", "some.onnx")
    ]
    assert 0 < counts[1] < counts[0]
    assert Model(tmp_path / "some.onnx").card == Model(made.path).card


def test_arithmetic_in_int8_runs_and_uses_no_last_bit(made: Made, tmp_path: Path) -> None:
    target = tmp_path / "small.onnx"
    storage.int8_onnxruntime(made.path, target, list(made.images))
    assert target.stat().st_size <= 0.3 * made.path.stat().st_size
    small = Model(target)
    assert small.card == Model(made.path).card
    found = small.scores(made.images)
    assert found.sum(axis=1) == pytest.approx(np.ones(len(found)), abs=1e-4)
    # reduce_range: no weight uses the last bit.
    levels = [
        onnx.numpy_helper.to_array(t)
        for t in onnx.load(target).graph.initializer
        if t.data_type == onnx.TensorProto.INT8 and "_quantized" in t.name and len(t.dims) == 4
    ]
    assert levels
    assert max(int(np.abs(one.astype(int)).max()) for one in levels) <= 64


def test_scores_that_change_when_opened_again_are_an_export_error() -> None:
    onnx_file.require_same(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))
    with pytest.raises(ExportError, match="opened again"):
        onnx_file.require_same(np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32))
