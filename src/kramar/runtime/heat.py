"""Where in a photo a model file sees a class: class activation maps (Zhou et al. 2016, Learning Deep Features for
Discriminative Localization)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from PIL import Image

from kramar.data.pixels import Pixels
from kramar.errors import ModelFileError
from kramar.runtime.model import Answer, Model
from kramar.runtime.session import Scores, inference

Heat = npt.NDArray[np.float32]
Indices = npt.NDArray[np.integer]

# From where a class is seen a little to where it is seen most, and how much of the photo that hides.
_WARM, _OPAQUE = np.array([(60, 20, 140), (220, 60, 80), (255, 225, 60)], np.float32), 0.45
# Where it is not seen, the photo is grey and dim: on red goods, warm colours alone would not show.
_DIM, _DARKEST = 0.5, 20


class HeatMaps:
    """Heat maps of an open model file: its last layer, applied to each place of its last feature map."""

    def __init__(self, model: Model, threads: int | None = None) -> None:
        """On ``threads`` threads (default: all cores). Raises ModelFileError where the file gives no feature map."""
        if not model.has("feature_map"):
            raise ModelFileError(
                f"{model.path}: heat maps are unavailable: this model has more than one layer on top of its last "
                "feature map; classify without --explain"
            )
        self._model, self._threads = model, threads

    @cached_property
    def _head(self) -> ort.InferenceSession:
        """From embeddings ``[N, D]`` to logits ``[N, C]``, however the file stores that layer."""
        import onnx
        from onnx.utils import Extractor

        head = Extractor(onnx.load(self._model.path)).extract_model(["embedding"], ["logits"])
        return inference(head.SerializeToString(), self._threads)

    def explained(self, images: Pixels) -> Iterator[Answer]:
        """An answer for each of uint8 ``[N, S, S, 3]`` RGB images, with its heat map and what the model saw."""
        *found, embeddings, maps = self._model.outputs(images, [*self._model.asked, "embedding", "feature_map"])
        answers = Answer.of(found, embeddings)
        heats = self(maps, np.array([one.probabilities.argmax() for one in answers]))
        for photo, answer, heat in zip(images, answers, heats, strict=True):
            yield replace(answer, heat_map=drawn(photo, heat))

    def __call__(self, feature_maps: Scores, classes: Indices) -> Heat:
        """Heat ``[N, h, w]`` of one class of each photo, of feature maps ``[N, D, h, w]`` and classes ``[N]``.

        What the class's logit at a place is above the mean of all classes' there; the strongest is 1, and 0 is
        where the class is seen no more than others are. Heat is of the square that the model looks at.
        """
        n, _, height, width = feature_maps.shape
        places = feature_maps.transpose(0, 2, 3, 1).reshape(n * height * width, -1)
        logits: Scores = self._head.run(["logits"], {"embedding": np.ascontiguousarray(places)})[0]
        logits = logits.reshape(n, height * width, -1)
        own = logits[np.arange(n), :, classes] - logits.mean(axis=2)
        strongest = np.maximum(own.max(axis=1, keepdims=True), 1e-6)
        return np.asarray(np.maximum(own / strongest, 0), np.float32).reshape(n, height, width)


def drawn(photo: Pixels, heat: Heat, quality: int = 85) -> bytes:
    """A JPEG of ``photo``, uint8 ``[S, S, 3]``, with its heat ``[h, w]`` over it: grey and dim where there is none."""
    size = (photo.shape[1], photo.shape[0])
    smooth = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    at = np.linspace(0, 1, len(_WARM))
    warm = np.stack([np.interp(smooth, at, channel) for channel in _WARM.T], axis=-1)
    hot = (1 - _OPAQUE) * photo + _OPAQUE * warm
    cold = _DIM * photo.mean(axis=2, keepdims=True) + _DARKEST
    mixed = hot * smooth[..., None] + cold * (1 - smooth[..., None])
    out = io.BytesIO()
    Image.fromarray((mixed + 0.5).astype(np.uint8)).save(out, "JPEG", quality=quality)
    return out.getvalue()
