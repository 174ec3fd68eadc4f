"""A package from npm, of which one version with one checksum is taken."""

from __future__ import annotations

import base64
import errno
import hashlib
import http.client
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kramar.config import cache_folder
from kramar.errors import FailedError, InputError, KramarError
from kramar.files import output_error, replacing
from kramar.models import download
from kramar.progress import Progress

_REGISTRY = "https://registry.npmjs.org"


@dataclass(frozen=True, slots=True)
class Package:
    """A version of a package.

    Attributes:
        integrity: SHA-512 of its tarball in Base64, as the registry's own ``dist.integrity`` has it.
        bytes: about how many it has.
    """

    name: str
    version: str
    integrity: str
    bytes: int

    @property
    def file_name(self) -> str:
        """As ``npm pack`` names it."""
        return f"{self.name}-{self.version}.tgz"


def unpack(package: Package, local: Path | None, files: Mapping[str, Path], progress: Progress) -> None:
    """Write ``files``, from their paths in the package to where they go, out of ``local`` or of the registry's tarball.

    The tarball is kept in the cache folder. Raises InputError where ``local`` is something else, and FailedError where
    the registry cannot be reached.
    """
    tarball = _fetched(package, progress) if local is None else _checked(package, local)
    try:
        with tarfile.open(tarball) as archive:
            for name, target in files.items():
                found = archive.extractfile(f"package/{name}")
                assert found is not None, f"{package.file_name} has {name}: its checksum says so"
                with found:
                    target.write_bytes(found.read())
    except OSError as error:
        raise output_error(tarball, error) from error


def _checked(package: Package, path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: expected the file {package.file_name}, found none; npm pack makes it")
    if not _is(package, path):
        raise InputError(
            f"{path}: expected {package.file_name} as npm has it, found another file (its SHA-512 differs); "
            f"get it by npm pack {package.name}@{package.version}"
        )
    return path


def _is(package: Package, path: Path) -> bool:
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode() == package.integrity


def _fetched(package: Package, progress: Progress) -> Path:
    """The tarball in the cache, which is fetched where it is not there."""
    path = cache_folder() / "npm" / package.file_name
    if path.is_file() and _is(package, path):
        return path
    registry = os.environ.get("NPM_CONFIG_REGISTRY") or _REGISTRY
    address = f"{registry.rstrip('/')}/{package.name}/-/{package.file_name}"
    progress.say(f"Fetching {address} ({package.bytes / 1e6:.0f} MB, once)")
    with replacing(path) as temporary:
        try:
            with progress.stage(f"Fetching {package.name}", package.bytes) as tick:
                download.to_file(address, temporary, tick)
        except (OSError, http.client.HTTPException, FailedError) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise output_error(path, error) from error
            raise _unreachable(package, address, error) from error
        if not _is(package, temporary):
            raise FailedError(
                f"{address}: what came is not {package.file_name} as npm has it (its SHA-512 differs); run the command "
                "again, or unset NPM_CONFIG_REGISTRY where it names a mirror"
            )
    return path


def _unreachable(package: Package, address: str, error: BaseException) -> KramarError:
    why = str(error) if isinstance(error, FailedError) else download.reason(error)
    return FailedError(
        f"{address}: could not be fetched ({why}); where there is a network, run npm pack "
        f"{package.name}@{package.version}, then give the file here: --package {package.file_name}"
    )
