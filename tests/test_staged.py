"""A backbone in stages: cut anywhere, it gives the same; folded, it is timm's; its file takes its weights."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch

from kramar.config import DEFAULT_BACKBONE
from kramar.errors import ExportError
from kramar.models import onnx_graph, staged
from kramar.models.backbones import BACKBONES, find
from kramar.models.convert import tap
from kramar.models.engines import ENGINES, Converted
from kramar.models.staged import Staged
from kramar.runtime.session import OnnxSession
from model_files import Made

BACKBONE = find(DEFAULT_BACKBONE)


@pytest.fixture(scope="module")
def body() -> Staged:
    return staged.load(BACKBONE)


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_it_is_cut_anywhere_and_gives_the_same(body: Staged, pixels: torch.Tensor) -> None:
    with torch.inference_mode():
        feature_map, embedding = body(pixels)
        assert embedding.shape == (2, BACKBONE.width)
        assert torch.allclose(embedding, feature_map.mean((2, 3)))
        for cut in body.cuts:
            maps = body.before(pixels, cut)
            assert maps.shape[1:] == body.shapes[cut - 1]
            assert torch.equal(body.beyond(maps, cut)[1], embedding)


@pytest.mark.parametrize("name", [name for name in BACKBONES if find(name).is_here])
def test_folded_it_computes_what_timm_s_network_does(name: str) -> None:
    backbone = find(name)
    network: Any = timm.create_model(backbone.timm_name, pretrained=False, exportable=True).eval()
    stored = torch.load(backbone.weights_file(), weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
    side = backbone.resize.size
    given = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    folded = staged.load(backbone)
    with torch.inference_mode():
        expected, found = network.forward_features(given), folded(given)[0]
    last = found[:, -expected.shape[1] :]
    assert float((last - expected).abs().max()) < 1e-3 * float(expected.abs().max())
    assert folded.width == backbone.width
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    # All of it can learn, the biases that folding makes too.
    assert all(parameter.requires_grad for parameter in folded.parameters())


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_gives_the_maps_at_a_cut(name: str, body: Staged, converted: Converted, made: Made) -> None:
    engine = ENGINES[name](converted.path, BACKBONE, body.joined)
    images = made.images[:2]
    maps, embeddings = engine.look(images)
    normal = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        expected = body.before(normal, body.joined).numpy()
    assert float(np.abs(maps - expected).max()) < 1e-3
    assert float(np.abs(embeddings - engine.embed(images)).max()) < 1e-4


def test_new_weights_go_into_the_converted_file_by_name(converted: Converted, made: Made, tmp_path: Path) -> None:
    changed = staged.load(BACKBONE)
    with torch.no_grad():
        for parameter in changed.stages[-1].parameters():
            parameter.mul_(1.5)
    weights = {f"body.{name}": value.detach().numpy() for name, value in changed.named_parameters()}
    onnx_graph.set_weights(converted.path, tmp_path / "new.onnx", weights)
    images = made.images[:2]
    normal = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        expected = changed(normal)[1].numpy()
    found = OnnxSession(tmp_path / "new.onnx").run(images, ["embedding"])[0]
    before = OnnxSession(converted.path).run(images, ["embedding"])[0]
    assert float(np.abs(found - expected).max()) < 1e-3
    assert float(np.abs(found - before).max()) > 0.01


def test_weights_of_another_network_are_refused(converted: Converted, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"has no weights body\.none of the shape \[3\]"):
        onnx_graph.set_weights(converted.path, tmp_path / "x.onnx", {"body.none": np.zeros(3, np.float32)})


def test_taps_cost_nothing_until_one_is_opened(converted: Converted, tmp_path: Path) -> None:
    onnx_graph.set_outputs(converted.path, tmp_path / "tapped.onnx", ["embedding", tap(2)])
    graph = onnx.load(tmp_path / "tapped.onnx").graph
    assert [output.name for output in graph.output] == ["embedding", tap(2)]
    onnx.checker.check_model(onnx.load(tmp_path / "tapped.onnx"))
