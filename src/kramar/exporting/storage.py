"""Smaller copies of a model file: weights as float16 or int8, and static int8 arithmetic."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from kramar.data.pixels import Pixels
from kramar.errors import ExportError, MissingExtra

# Smaller tensors than this are biases and constants: their bytes do not matter, their precision may.
_LARGE = 1024
# Whole numbers on each side of zero that a weight of eight bits, or of four, takes.
_LEVELS, FEW_LEVELS = 127, 7
# An int8 copy may stand for its source when its labels agree on this share of at most so many photos.
AGREEMENT, COMPARED = 0.98, 1200
# Photos that activations' ranges are measured on; and so many of the first convolutions stay as they are, until enough
# labels are kept.
_CALIBRATED, EXACT = 128, (0, 8, 20)
# A number is a whole one within this: float32 rounds.
_WHOLE = 1e-3


def calibrating(photos: int) -> list[int]:
    """Which of so many photos the ranges are measured on: evenly spaced, as a folder's are listed class by class."""
    count = min(_CALIBRATED, photos)
    return [place * photos // count for place in range(count)]


def float16(path: Path, target: Path) -> None:
    """Write ``path`` to ``target`` with its weights stored as float16; arithmetic stays float32.

    Runtimes turn the weights back once, when they open the file.
    """
    _restore(path, target, _as_float16)


def int8_bytes(path: Path) -> int:
    """About what `int8_weights` makes of the model file at ``path``; int8 arithmetic takes a little more."""
    graph = onnx.load(path).graph
    last = _last(graph.node)
    numbers = {one.name: int(np.prod(one.dims)) for one in graph.initializer if len(one.dims) > 1}
    saved = sum((2 if name in last else 3) * count for name, count in numbers.items() if count >= _LARGE)
    return path.stat().st_size - saved


def pointwise(shape: Sequence[int]) -> bool:
    """Whether weights of this shape are those of a convolution that looks at one pixel: most of a network's are."""
    return len(shape) == 4 and shape[1] > 1 and tuple(shape[2:]) == (1, 1)


def _steps(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Each output channel's step ``[O, 1, 1, 1]``: the largest of which its weights are at most seven whole numbers;
    where they are not whole, a seventh of the largest."""
    reach = np.maximum(np.abs(weights).max(axis=(1, 2, 3), keepdims=True), 1e-12)
    steps = reach / FEW_LEVELS
    for levels in range(FEW_LEVELS, 0, -1):
        step = reach / levels
        whole = (np.abs(weights / step - np.rint(weights / step)) < _WHOLE).all(axis=(1, 2, 3), keepdims=True)
        steps = np.where(whole, step, steps)
    return np.asarray(steps, np.float32)


def _last(nodes: Any) -> set[str]:
    """What the layer that gives the logits takes."""
    return {name for node in nodes if "logits" in node.output for name in node.input}


def _as_float16(weights: npt.NDArray[np.float32], name: str) -> tuple[list[Any], list[Any]]:
    kept = numpy_helper.from_array(weights.astype(np.float16), f"{name}.float16")
    return [kept], [helper.make_node("Cast", [kept.name], [name], f"{name}.cast", to=TensorProto.FLOAT)]


def int8_weights(path: Path, target: Path) -> None:
    """Write ``path`` to ``target`` with its weights stored as int8, a scale a channel; arithmetic stays float32.

    w is stored as round(w / s) with s = max |w| / 127 of its output channel (Krishnamoorthi 2018, section 2.2). The
    layer that gives the logits is stored as float16: embeddings have a large mean, which all photos share, and on which
    a rounded weight moves a class's logit for all of them.
    """
    _whole_numbers(path, target, few=False)


def int4_weights(path: Path, target: Path) -> None:
    """As `int8_weights`, and those of pointwise convolutions as four bits, two in a byte.

    It loses nothing of weights that are such whole numbers already (`training.compress`), and much of others.
    """
    _whole_numbers(path, target, few=True)


def _whole_numbers(path: Path, target: Path, *, few: bool) -> None:
    nodes = onnx.load(path, load_external_data=False).graph.node
    last = _last(nodes)
    # Convolutions have their output channels first; so have matrices that are used transposed.
    turned = {
        node.input[1]
        for node in nodes
        if node.op_type == "Gemm" and any(one.name == "transB" and one.i for one in node.attribute)
    }

    def stored(weights: npt.NDArray[np.float32], name: str) -> tuple[list[Any], list[Any]]:
        if name in last:
            return _as_float16(weights, name)
        if few and pointwise(weights.shape) and weights.size % 2 == 0:
            return _as_int4(weights, name)
        axis = 0 if weights.ndim == 4 or name in turned else weights.ndim - 1
        others = tuple(place for place in range(weights.ndim) if place != axis)
        scale = np.maximum(np.abs(weights).max(axis=others), 1e-12) / _LEVELS
        shape = [-1 if place == axis else 1 for place in range(weights.ndim)]
        levels = np.clip(np.rint(weights / scale.reshape(shape)), -_LEVELS, _LEVELS).astype(np.int8)
        kept = [
            numpy_helper.from_array(levels, f"{name}.int8"),
            numpy_helper.from_array(scale.astype(np.float32).reshape(shape), f"{name}.scale"),
        ]
        # Not DequantizeLinear: ONNX Runtime does that anew each time it runs, and this once, when it opens the file.
        whole = helper.make_node("Cast", [kept[0].name], [f"{name}.levels"], f"{name}.cast", to=TensorProto.FLOAT)
        scaled = helper.make_node("Mul", [f"{name}.levels", kept[1].name], [name], f"{name}.scaled")
        return kept, [whole, scaled]

    _restore(path, target, stored)


def _as_int4(weights: npt.NDArray[np.float32], name: str) -> tuple[list[Any], list[Any]]:
    """With arithmetic that any runtime knows: one that has four bits as a type is not everywhere."""
    steps = _steps(weights)
    levels = (np.clip(np.rint(weights / steps), -FEW_LEVELS, FEW_LEVELS) + 8).astype(np.uint8).reshape(2, -1)
    constants = {
        "int4": 16 * levels[0] + levels[1],
        "scale": steps,
        "shape": np.array(weights.shape, np.int64),
        "sixteen": np.float32(16),
        "eight": np.float32(8),
    }
    kept = [numpy_helper.from_array(np.asarray(value), f"{name}.{key}") for key, value in constants.items()]
    nodes = [
        helper.make_node(kind, [f"{name}.{one}" for one in taken], [f"{name}.{given}" if given else name], **options)
        for kind, taken, given, options in (
            ("Cast", ["int4"], "pairs", {"to": TensorProto.FLOAT}),
            ("Div", ["pairs", "sixteen"], "shifted", {}),
            ("Floor", ["shifted"], "first", {}),
            ("Mul", ["first", "sixteen"], "high", {}),
            ("Sub", ["pairs", "high"], "second", {}),
            ("Concat", ["first", "second"], "both", {"axis": 0}),
            ("Sub", ["both", "eight"], "levels", {}),
            ("Reshape", ["levels", "shape"], "shaped", {}),
            ("Mul", ["shaped", "scale"], "", {}),
        )
    ]
    return kept, nodes


def _restore(path: Path, target: Path, stored: Any) -> None:
    """Write the graph with each large weight replaced by what ``stored`` makes of it and the nodes that undo that."""
    model = onnx.load(path)
    kept, nodes = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        # Of a vector each number would have a scale of its own.
        if tensor.data_type != TensorProto.FLOAT or values.size < _LARGE or values.ndim < 2:
            kept.append(tensor)
            continue
        tensors, undone = stored(values, tensor.name)
        kept += tensors
        nodes += undone
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    others = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *others])
    onnx.checker.check_model(model)
    onnx.save(model, target)


def int8_onnxruntime(path: Path, target: Path, photos: Sequence[Pixels], exact: int = 0) -> None:
    """Write ``path`` to ``target`` with convolutions in int8, by ONNX Runtime's static quantisation (QDQ).

    A scale a channel for weights, of which a bit stays unused (``reduce_range``: without it sums saturate on processors
    without VNNI, and labels depend on the machine), one a tensor for activations, from their least and largest values
    on ``photos``, uint8 ``[S, S, 3]``. The first ``exact`` convolutions stay as they are: noise that early goes through
    all the others. Raises ExportError.
    """
    try:
        from onnxruntime import quantization
    except ImportError:
        raise MissingExtra("train", "quantising a model file") from None

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._photos = iter(photos)

        def get_next(self) -> dict[str, Pixels] | None:
            photo = next(self._photos, None)
            return None if photo is None else {"images": photo[None]}

    with _quietly(), tempfile.TemporaryDirectory(dir=target.parent) as folder:
        prepared = Path(folder) / "prepared.onnx"
        try:
            quantization.quant_pre_process(path, prepared, skip_symbolic_shape=True)
            quantization.quantize_static(
                prepared,
                target,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "Add", "Clip"],
                nodes_to_exclude=_convolutions(prepared)[:exact],
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
        except Exception as error:  # its errors share no class
            raise ExportError(f"{path}: ONNX Runtime could not quantise it ({error})") from error
        _finish(path, target)


def int8_nncf(path: Path, target: Path, photos: Sequence[Pixels], exact: int = 0) -> None:
    """As `int8_onnxruntime`, by NNCF (Kozlov et al. 2021), which corrects the biases of what it quantises.

    ``overflow_fix`` is what it calls a bit that stays unused. Its own accuracy control knows OpenVINO's models only:
    who calls this leaves convolutions ``exact`` until enough labels are kept. Raises ExportError.
    """
    try:
        import nncf
        from nncf.quantization.advanced_parameters import OverflowFix
    except ImportError:
        raise MissingExtra("train", "quantising with NNCF") from None

    def fed(photo: Pixels) -> dict[str, Pixels]:
        return {"images": photo[None]}

    with _quietly():
        try:
            model = nncf.quantize(
                onnx.load(path),
                nncf.Dataset(list(photos), fed),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(photos),
                ignored_scope=nncf.IgnoredScope(names=_convolutions(path)[:exact]) if exact else None,
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE),
            )
        except Exception as error:  # nor do these
            raise ExportError(f"{path}: NNCF could not quantise it ({error})") from error
        onnx.save(model, target)
    _finish(path, target)


def _convolutions(path: Path) -> list[str]:
    """The names of the convolutions in a graph, the first ones first."""
    return [node.name for node in onnx.load(path).graph.node if node.op_type == "Conv"]


def _finish(path: Path, target: Path) -> None:
    """Weights that are no whole numbers yet are stored as such, and the card is as it was."""
    int8_weights(target, target)
    source, model = onnx.load(path), onnx.load(target)
    del model.metadata_props[:]
    model.metadata_props.extend(source.metadata_props)
    onnx.save(model, target)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what both libraries tell of themselves."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(None), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
