import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch

from kramar.config import DEFAULT_BACKBONE
from kramar.errors import FailedError, InputError, OutputError
from kramar.models.backbones import find
from kramar.models.conversion import lock_of
from kramar.models.convert import convert, load_torch
from kramar.models.engines import Converted
from kramar.models.onnx_graph import OPSET
from model_files import Made

BACKBONE = find(DEFAULT_BACKBONE)


def test_every_stored_tensor_goes_to_its_namesake() -> None:
    """They are matched by order: the last words of the names (weight, running_var, ...) must agree."""
    own = timm.create_model(BACKBONE.timm_name, pretrained=False).state_dict()
    stored = torch.load(BACKBONE.weights_file(), weights_only=True)
    assert [name.rpartition(".")[2] for name in own] == [name.rpartition(".")[2] for name in stored]
    places = [(int(a.split(".")[1]), b) for a, b in zip(own, stored, strict=True) if a.startswith("blocks.")]
    assert [stage for stage, _ in places] == sorted(stage for stage, _ in places)
    numbers = [int(name.split(".")[1]) for _, name in places]
    assert numbers == sorted(numbers)


def test_the_last_channels_are_timms_features_of_normalised_pixels(made: Made) -> None:
    network: Any = timm.create_model(BACKBONE.timm_name, pretrained=False).eval()
    stored = torch.load(BACKBONE.weights_file(), weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
    images = made.images[:2]
    pixels = torch.from_numpy((images / 255.0 - 0.5) / 0.5).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        expected = network.forward_features(pixels)
        feature_map, embedding, *_ = load_torch(BACKBONE)(torch.from_numpy(images))
        sureness = float(network.forward_head(expected).softmax(dim=1).max())
    channels = expected.shape[1]
    assert feature_map.shape == (2, BACKBONE.width, *expected.shape[2:])
    scale = float(expected.abs().max())
    assert float((feature_map[:, -channels:] - expected).abs().max()) < 1e-4 * scale
    assert float((embedding - feature_map.mean((2, 3))).abs().max()) < 1e-6
    # Its own classifier on top of them finds something: features of unfit weights would not be so sure.
    assert sureness > 0.05


def test_the_converted_file_is_one_onnx_file_of_its_own(converted: Converted) -> None:
    model = onnx.load(converted.path, load_external_data=False)
    onnx.checker.check_model(model)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == OPSET
    assert [value.name for value in model.graph.input] == ["images"]
    assert [value.name for value in model.graph.output] == ["feature_map", "embedding"]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    numbers = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    assert converted.path.stat().st_size < 4 * numbers * 1.1


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(InputError, match=r"efficientnet-lite0-.*\.pth: its tensors do not fit tf_efficientnet_lite1"):
        load_torch(replace(BACKBONE, name="efficientnet_lite1", timm_name="tf_efficientnet_lite1"))


def test_weights_that_are_not_installed_are_an_input_error() -> None:
    with pytest.raises(InputError, match="not installed"):
        load_torch(replace(BACKBONE, package="no-such-package"))


def test_a_conversion_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    path, rate = tmp_path / "unknown.onnx", tmp_path / "rate.json"
    with pytest.raises(FailedError, match=r"unknown to ONNX failed: .*no backbone called 'unknown'") as raised:
        convert(replace(BACKBONE, name="unknown"), path, rate)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_conversions_files_go_once_nobody_converts(tmp_path: Path) -> None:
    path, rate = tmp_path / "net.onnx", tmp_path / "net.torch-rate.json"
    path.write_bytes(b"converted by another run meanwhile")
    leftovers = [tmp_path / ".net.onnx.0123abcd.tmp", tmp_path / ".net.torch-rate.json.0123abcd.tmp"]
    others = [tmp_path / ".net2.onnx.0123abcd.tmp", tmp_path / ".net.openvino.json.0123abcd.tmp"]
    for file in (*leftovers, *others):
        file.touch()
    waiting = threading.Thread(target=convert, args=(BACKBONE, path, rate))
    with lock_of(path):
        waiting.start()
        waiting.join(timeout=2)
        assert waiting.is_alive()
        assert all(file.exists() for file in leftovers)
    waiting.join(timeout=30)
    assert not waiting.is_alive()
    assert sorted(tmp_path.glob(".*.tmp")) == sorted(others)
    assert path.read_bytes() == b"converted by another run meanwhile"
    # What that run has measured, it has measured on its own machine.
    assert rate.is_file()


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "backbones").touch()
    with pytest.raises(OutputError, match="backbones: a file is where a folder was expected"):
        convert(BACKBONE, tmp_path / "backbones" / "net.onnx", tmp_path / "backbones" / "rate.json")


def test_ctrl_c_in_a_terminal_is_not_for_the_process_that_converts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal signals all processes of its session; the run finishes well, and needs the file."""
    stand_in = tmp_path / "python"
    stand_in.write_text(f'#!{sys.executable}\nimport os, sys\nopen(sys.argv[4], "w").write(str(os.getsid(0)))\n')
    stand_in.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    convert(BACKBONE, tmp_path / "backbone.onnx", tmp_path / "rate.json")
    assert int((tmp_path / "backbone.onnx").read_text()) != os.getsid(0)
