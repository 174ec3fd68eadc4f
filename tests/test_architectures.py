"""Every architecture is found, built, trained a step, written and verified; a new one is tested by being listed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from drawn import Held, photo
from kramar.data.pixels import prepare
from kramar.errors import InputError
from kramar.exporting import network_file
from kramar.models import networks, weights
from kramar.models.architectures import ARCHITECTURES, Architecture, find
from kramar.models.networks import ACTIVATIONS, Top
from kramar.progress import Silent
from kramar.records import ClassCard, ModelCard
from kramar.runtime.model import Model
from kramar.training import losses
from kramar.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")

LISTED = [*ARCHITECTURES, "mobilenet_v1:width=0.25", "convnet:depth=2:width=3", "timm:resnet10t"]


def small(name: str) -> Architecture:
    found = find(name)
    return found.at(max(found.smallest, 32))


def card(architecture: Architecture, classes: int) -> ModelCard:
    return ModelCard(
        kramar="0",
        classes=[ClassCard(label=str(number), category=str(number)) for number in range(classes)],
        resize=architecture.resize,
        temperature=1.5,
        backbone=architecture.name,
        rung="compare",
        storage="float32",
        metrics={},
        data_fingerprint="",
        seed=0,
        split={},
        weights_source="none",
        weights_licence="",
    )


@pytest.mark.parametrize("name", LISTED)
def test_every_architecture_learns_and_its_file_is_verified(name: str, tmp_path: Path) -> None:
    architecture = small(name)
    network = networks.build(architecture, 3, Top(), seed=0)
    drawn = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (4, *[architecture.resize.size] * 2, 3), dtype=torch.uint8, generator=drawn)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    losses.of(Recipe(label_smoothing=0))(network.train(), images, torch.tensor([0, 1, 2, 0])).backward()
    optimiser.step()
    moved = [bool((old != new).any()) for old, new in zip(before, network.parameters(), strict=True)]
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert sum(moved) > len(moved) / 2
    photos = [Held(photo(number)) for number in range(4)]
    made = card(architecture, 3)
    with torch.inference_mode():
        # Until normalisation has seen photos, activations grow from layer to layer, and rounding with them.
        for _ in range(15):
            network.train()(images)
        seen = np.stack([prepare(one.data, architecture.resize) for one in photos])
        source = network.eval()(torch.from_numpy(seen))
    path = tmp_path / "model.onnx"
    verification = network_file.write(network, made, path, photos, source.numpy(), Silent())
    assert (verification.photos, verification.label_differences) == (4, 0)
    assert Model(path).scores(images.numpy()).shape == (4, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("densnet121", "did you mean densenet121"),
        ("nothing_like_it", "there are convnet, densenet121"),
        ("timm:resnet10x", "did you mean resnet10t"),
        ("convnet:height=3", "has the options depth, width; found 'height=3'"),
        ("squeezenet1_1:width=2", "squeezenet1_1 has no options"),
        ("convnet:depth=0", "a positive whole number, found '0'"),
        ("convnet:depth=many", "a positive whole number, found 'many'"),
        ("convnet:depth=2.5", "a positive whole number, found '2.5'"),
        ("mobilenet_v1:width=wide", "a positive number, found 'wide'"),
        ("convnet@big", "expected pixels after convnet@, found 'big'"),
        ("inception_v3@64", "takes photos of at least 75 pixels, found 64"),
        ("timm:vit_tiny_patch16_224@64", "takes photos of 224 pixels only, found 64"),
    ],
)
def test_a_wrong_name_is_told_with_what_there_is(text: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        find(text)
    assert said in str(refused.value)
    assert str(refused.value).startswith("--architectures: ") or "@" in text


def test_options_and_size_are_part_of_the_name() -> None:
    found = find("convnet:depth=3:width=16@48")
    assert (found.name, found.family, found.resize.size) == ("convnet:depth=3:width=16@48", "convnet", 48)
    assert found.options == {"depth": 3, "width": 16}
    assert find("timm:resnet10t").family == "timm:resnet10t"


def test_a_network_can_be_cut_short_and_keeps_its_weights() -> None:
    short, whole = (
        networks.build(find(name), 3, Top(), 0) for name in ("efficientnet_lite0:blocks=12@64", "efficientnet_lite0@64")
    )
    found = find("efficientnet_lite0:blocks=12@64")
    assert found.stock
    assert not find("mobilenet_v1:width=0.5").stock
    located = weights.locate(found)
    assert located is not None
    networks.load(short, weights.read(found, located), "there")
    networks.load(whole, weights.read(found, located), "there")
    kept, stored = short.body.state_dict(), whole.body.state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in kept.items())
    assert short.body.width == 192
    assert short.body.spatial
    assert sum(p.numel() for p in short.parameters()) < 0.3 * sum(p.numel() for p in whole.parameters())


def test_a_network_of_too_many_blocks_is_refused() -> None:
    with pytest.raises(InputError, match="7 blocks halve a photo of 64 pixels to nothing"):
        networks.build(find("convnet:depth=7"), 2, Top(), 0)


def test_weights_follow_the_seed_and_nothing_else() -> None:
    one, same, other = (networks.build(small("convnet"), 3, Top((5,)), seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_exchanged_everywhere(activation: str) -> None:
    network = networks.build(small("squeezenet1_1"), 3, Top(), 0, activation=activation)
    kinds = {type(module) for module in network.body.modules() if not list(module.children())}
    assert type(ACTIVATIONS[activation]()) in kinds
    assert (torch.nn.ReLU in kinds) == (activation == "relu")


def test_inception_has_its_second_classifier_in_training_alone() -> None:
    network = networks.build(find("inception_v3"), 4, Top(), 0, auxiliary=True)
    images = torch.zeros((2, 299, 299, 3), dtype=torch.uint8)
    first, second = network.train()(images)
    assert (first.shape, second.shape) == ((2, 4), (2, 4))
    with torch.inference_mode():
        assert network.eval()(images).shape == (2, 4)
