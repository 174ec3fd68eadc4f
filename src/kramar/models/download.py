"""One file from Hugging Face or torchvision, with the checksum that its server promises."""

from __future__ import annotations

import http.client
import re
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kramar.errors import FailedError
from kramar.version import __version__

_FILE = "model.safetensors"  # timm's name for it in each of its repositories
_CHUNK = 1 << 18
_SECONDS = 30  # without a byte
Tick = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Came:
    """A file that came.

    Attributes:
        path: where it is.
        address: what exactly it is, on its server.
        promised: how its SHA-256 starts, by its server; empty where the server does not say.
    """

    path: Path
    address: str
    promised: str


def from_huggingface(repository: str, place: Path, tick: Tick, base: str = "") -> Came:
    """Fetch the weights of ``repository`` (``ID`` or ``ID@REVISION``) into the empty folder ``place``.

    ``tick`` hears of the bytes as they come; ``base`` is a mirror, in the place of ``HF_ENDPOINT``. Raises whatever
    huggingface_hub raises: an OSError, or an error of the HTTP library that it uses.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils.tqdm import tqdm

    class Ticks(tqdm):
        """The bar that huggingface_hub would draw: it draws nothing, and passes on what it hears."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            tick(int(n or 0))

        def update_transfer(self, n: float) -> None:
            """Pieces on their way, which `update` hears of when they are written."""

        def set_transfer_postfix_str(self, *_: Any, **__: Any) -> None:
            """Their speed."""

    name, _, revision = repository.partition("@")
    endpoint = base or None
    url = hf_hub_url(name, _FILE, revision=revision or None, endpoint=endpoint)
    # First, and without a second try: with no network this is where it ends, at once.
    metadata = get_hf_file_metadata(url, endpoint=endpoint, library_name="kramar", library_version=__version__)
    came = hf_hub_download(
        name,
        _FILE,
        revision=metadata.commit_hash or revision or None,
        local_dir=place,
        endpoint=endpoint,
        tqdm_class=Ticks,
        library_name="kramar",
        library_version=__version__,
    )
    host = url.partition(f"/{name}/")[0]
    # A file that is large enough for weights is kept under its SHA-256; a small one under another sum.
    promised = metadata.etag if re.fullmatch("[0-9a-f]{64}", metadata.etag or "") else ""
    return Came(Path(came), f"{host}/{name}/blob/{metadata.commit_hash}/{_FILE}", promised or "")


def from_torchvision(url: str, place: Path, tick: Tick, base: str = "") -> Came:
    """Fetch ``url`` into the folder ``place``; its name holds the start of its SHA-256, which is torch.hub's custom.

    ``tick`` hears of the bytes as they come; ``base`` is a mirror's folder. Raises OSError or HTTPException, and
    FailedError where the way there is not encrypted.
    """
    name = url.rpartition("/")[2]
    promised = re.search(r"-([0-9a-f]{8,})\.", name)
    address = f"{base.rstrip('/')}/{name}" if base else url
    path = place / name
    to_file(address, path, tick)
    return Came(path, address, promised[1] if promised else "")


def to_file(address: str, path: Path, tick: Tick) -> None:
    """Fetch ``address`` into ``path``; raises as `from_torchvision` does."""
    _refuse_open_network(address)
    request = urllib.request.Request(address, headers={"User-Agent": f"kramar/{__version__}"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer, path.open("wb") as file:  # noqa: S310
        _refuse_open_network(answer.url)  # where it was sent on to
        expected = answer.length
        while piece := answer.read(_CHUNK):
            file.write(piece)
            tick(len(piece))
        if expected is not None and file.tell() < expected:
            raise http.client.IncompleteRead(b"", expected - file.tell())


def _refuse_open_network(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")):
        raise FailedError(f"{address}: expected an https address")


def reason(error: BaseException) -> str:
    """Why a download failed, in a few words: the server's status, or the innermost cause."""
    status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "code", None)
    if isinstance(status, int):
        return f"it answered {status}"
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    told = error.strerror if isinstance(error, OSError) else None
    return told or " ".join(str(error).split()) or type(error).__name__
