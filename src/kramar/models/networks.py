"""Networks to train: any architecture's body, and the layers on top that tell the classes apart."""

from __future__ import annotations

import importlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kramar.errors import FailedError, InputError
from kramar.models.architectures import ARCHITECTURES, BLOCKS, Architecture
from kramar.models.convnet import ConvNet

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
    "hardswish": nn.Hardswish,
}
# By name, since libraries bring their own classes of the same functions.
_EXCHANGEABLE = {"relu", "relu6", "elu", "selu", "gelu", "silu", "swish", "leakyrelu", "hardswish"}
# Below this, Inception's second classifier has no picture left to look at (it pools 5x5, then convolves 5x5).
AUXILIARY_SIZE = 299


class Body(nn.Module, ABC):
    """An architecture without its classifier.

    Attributes:
        width: numbers in an embedding.
        spatial: whether the embedding is the spatial mean of a feature map.
    """

    width: int
    spatial: bool

    @abstractmethod
    def forward(self, pixels: Tensor) -> tuple[Tensor | None, Tensor]:
        """Feature map ``[N, D, h, w]``, if there is one, and embedding ``[N, D]`` of pixels ``[N, 3, S, S]``."""


class _Mapped(Body):
    """A body whose layers end in a feature map."""

    def __init__(self, layers: nn.Module, width: int) -> None:
        super().__init__()
        self.layers, self.width, self.spatial = layers, width, True

    def forward(self, pixels: Tensor) -> tuple[Tensor | None, Tensor]:
        feature_map = self.layers(pixels)
        return feature_map, feature_map.mean((2, 3))


class _Timm(Body):
    """Any model of timm; whether its embedding is the mean of its last map, is tried out when it is built."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            was_training = model.training
            model.eval()
            photo = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
            try:
                last = model.forward_features(photo)
                embedding = model.forward_head(last, pre_logits=True)
                self.width, is_one = embedding.shape[1], isinstance(last, Tensor)
            except (AttributeError, TypeError) as error:
                raise InputError(
                    f"{type(model).__name__}: not an image classifier of one embedding ({error})"
                ) from error
            model.train(was_training)
        if not is_one:
            raise InputError(
                f"{type(model).__name__}: gives several feature maps, of which kramar knows no one to take"
            )
        is_map = last.ndim == 4 and last.shape[1] == self.width
        self.spatial = is_map and torch.allclose(last.mean((2, 3)), embedding, rtol=1e-3, atol=1e-5)

    def forward(self, pixels: Tensor) -> tuple[Tensor | None, Tensor]:
        last = self.model.forward_features(pixels)
        embedding = self.model.forward_head(last, pre_logits=True)
        return (last if self.spatial else None), embedding


class _Inception(Body):
    """Inception V3 with its second classifier (Szegedy et al. 2015, section 4), which only training looks at."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.width, self.spatial = model, model.num_features, True
        # Its first classifier gives way to the network's head.
        model.fc = nn.Identity()

    def both(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding ``[N, D]`` and the second classifier's logits ``[N, C]``."""
        last, logits = self.model.forward_features(pixels)
        return last.mean((2, 3)), logits

    def forward(self, pixels: Tensor) -> tuple[Tensor | None, Tensor]:
        last = self.model.forward_postaux(self.model.forward_preaux(pixels))
        return last, last.mean((2, 3))


class Network(nn.Module):
    """From pixels to logits."""

    def __init__(self, body: Body, head: nn.Module, architecture: Architecture) -> None:
        """``head`` takes embeddings ``[N, D]`` to logits ``[N, C]``."""
        super().__init__()
        self.body, self.head = body, head
        self.keeps_statistics = False
        self.mean = nn.Buffer(255 * torch.tensor(architecture.mean).view(1, 3, 1, 1), persistent=False)
        self.std = nn.Buffer(255 * torch.tensor(architecture.std).view(1, 3, 1, 1), persistent=False)

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 ``[N, S, S, 3]`` as the body's float pixels ``[N, 3, S, S]``; in memory the channels stay last."""
        return (images.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std

    def train(self, mode: bool = True) -> Network:
        """Training or evaluation mode; batch normalisation that keeps its statistics stays in evaluation mode."""
        super().train(mode)
        if self.keeps_statistics:
            for module in self.body.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings ``[N, D]`` of uint8 images ``[N, S, S, 3]``."""
        embedding: Tensor = self.body(self.normalised(images))[1]
        return embedding

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Logits ``[N, C]`` of uint8 images; in training, Inception's second classifier's beside them."""
        if self.training and isinstance(self.body, _Inception):
            embedding, second = self.body.both(self.normalised(images))
            return self.head(embedding), second
        logits: Tensor = self.head(self.embed(images))
        return logits


@dataclass(frozen=True, slots=True)
class Top:
    """The layers on top of a body.

    Attributes:
        layers: widths of the fully connected layers before the last.
        dropout: share of values dropped before each layer.
        activation: after each layer but the last.
    """

    layers: tuple[int, ...] = ()
    dropout: float = 0.0
    activation: str = "relu"


def build_body(architecture: Architecture, classes: int, *, auxiliary: bool = False) -> Body:
    """The architecture's body, its weights drawn at random from torch's generator.

    ``auxiliary`` gives Inception its second classifier, for ``classes``. Raises InputError for a depth or width that
    leaves nothing of the picture.
    """
    if architecture.library == "kramar":
        depth, width = int(architecture.options["depth"]), int(architecture.options["width"])
        if 2**depth > architecture.resize.size:
            raise InputError(
                f"{architecture.name}: {depth} blocks halve a photo of {architecture.resize.size} pixels to nothing; "
                "use fewer, or a larger --size"
            )
        convnet = ConvNet(depth, width)
        return _Mapped(convnet, convnet.width)
    if architecture.library == "torchvision":
        import torchvision

        layers = torchvision.models.get_model(architecture.model).features
        with torch.no_grad():
            width = layers.eval()(torch.zeros(1, 3, architecture.resize.size, architecture.resize.size)).shape[1]
        return _Mapped(layers.train(), width)
    import timm

    if architecture.model == "mobilenetv1_100" and architecture.options["width"] != 1:
        # timm registers widths 1.0 and 1.25 alone; its builder takes any.
        builder: Any = importlib.import_module("timm.models.efficientnet")
        narrow = builder._gen_mobilenet_v1("mobilenetv1_100", architecture.options["width"], num_classes=0)
        return _Timm(narrow, architecture.resize.size)
    create: Any = timm.create_model
    if auxiliary and architecture.model == "inception_v3":
        return _Inception(create("inception_v3", num_classes=classes, aux_logits=True))
    model = create(architecture.model, num_classes=0)
    shorten(model, architecture)
    return _Timm(model, architecture.resize.size)


def shorten(model: Any, architecture: Architecture) -> None:
    """Leave the first blocks of timm's ``model``, where the architecture asks for fewer than there are."""
    left = architecture.options.get(BLOCKS)
    if left is None or left == ARCHITECTURES[architecture.family].options[BLOCKS]:
        return
    stages = []
    for stage in model.blocks:
        stages.append(nn.Sequential(*list(stage)[: int(left)]))
        left -= len(stages[-1])
        if not left:
            break
    model.blocks = nn.Sequential(*stages)
    # What leads to ImageNet's classes comes after all of them.
    model.conv_head, model.bn2 = nn.Identity(), nn.Identity()


def build_head(width: int, classes: int, top: Top) -> nn.Sequential:
    """Fully connected layers from embeddings ``[N, width]`` to logits ``[N, classes]``."""
    layers: list[nn.Module] = []
    for wide in top.layers:
        layers += [nn.Dropout(top.dropout), nn.Linear(width, wide), ACTIVATIONS[top.activation]()]
        width = wide
    return nn.Sequential(*layers, nn.Dropout(top.dropout), nn.Linear(width, classes))


def last_layer(network: Network) -> nn.Linear:
    """The layer that the classes come from."""
    layer = network.head[-1]  # type: ignore[index]
    assert isinstance(layer, nn.Linear)
    return layer


def build(
    architecture: Architecture,
    classes: int,
    top: Top,
    seed: int,
    *,
    activation: str = "",
    auxiliary: bool = False,
) -> Network:
    """A network for ``classes``, its weights drawn by ``seed``; ``activation`` takes the place of its body's own.

    Raises InputError where the architecture has no activation function that could be exchanged.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(seed)
        # torchvision's and timm's builders tell of their own coming changes.
        warnings.simplefilter("ignore", FutureWarning)
        body = build_body(architecture, classes, auxiliary=auxiliary)
        head = build_head(body.width, classes, top)
    if activation and not exchange(body, activation):
        raise InputError(f"{architecture.name}: its activation functions cannot be exchanged")
    return Network(body, head, architecture)


def exchange(module: nn.Module, activation: str) -> int:
    """Put ``activation`` in the place of every activation function in ``module``; how many there were."""
    changed = 0
    for name, child in module.named_children():
        if type(child).__name__.lower() in _EXCHANGEABLE:
            setattr(module, name, ACTIVATIONS[activation]())
            changed += 1
        else:
            changed += exchange(child, activation)
    return changed


def load_weights(body: Body, stored: dict[str, Tensor], where: str) -> None:
    """Give ``body`` the ImageNet weights ``stored`` under its library's names; its classifier's are not needed.

    Raises FailedError, with the first that does not fit, where they are of another network.
    """
    inner: nn.Module = body.layers if isinstance(body, _Mapped) else body.model  # type: ignore[assignment]
    prefix = "features." if isinstance(body, _Mapped) else ""
    own = {name: value for name, value in inner.state_dict().items() if not _is_classifier(name)}
    found = {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
    for name, value in own.items():
        if name not in found or found[name].shape != value.shape:
            has = list(found[name].shape) if name in found else "nothing"
            raise FailedError(f"{where}: expected {name} {list(value.shape)}, found {has}: weights of another network")
    inner.load_state_dict({name: found[name] for name in own}, strict=False)


def load(network: Network, stored: dict[str, Tensor], where: str) -> None:
    """`load_weights` for a network that is to be trained further.

    Its batch normalisation keeps ImageNet's statistics: batches as small as a CPU takes would only blur them, and in
    files whose normalisation was folded into the convolutions there are none to update.
    """
    load_weights(network.body, stored, where)
    network.keeps_statistics = True


def _is_classifier(name: str) -> bool:
    first = name.split(".", maxsplit=1)[0]
    return first in ("fc", "classifier", "head", "AuxLogits") and not name.startswith("head.norm")
