"""The two data sets of the thesis's timings, MNIST and CIFAR-10: from a local copy, or through torchvision.

Only training photos are read, and only their number and shape matter: what is learnt from them is thrown away. Where
MNIST cannot be had, Fashion-MNIST (Xiao, Rasul and Vollgraf 2017) stands in: as many photos, of the same shape.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import socket
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torchvision import datasets

from kramar.config import cache_folder, cores
from kramar.data.listing import Row
from kramar.data.pixels import Pixels, in_order, prepare, short_side
from kramar.data.sources import list_photos
from kramar.errors import DataError, InputError, PhotoError
from kramar.models.download import reason
from kramar.progress import Progress
from kramar.records import ResizeRule
from kramar.study.speed_file import STANDS_FOR

MNIST, FASHION, CIFAR10 = "MNIST", "Fashion-MNIST", "CIFAR-10"
# What they are for, in the thesis's order, and their photos: how many, and how many pixels a side.
SHAPES = {MNIST: (60_000, 28), CIFAR10: (50_000, 32)}
CLASSES = 10
# Where Debian's dataset-fashion-mnist is installed, and what `make demo` leaves in a clone of kramar.
STAND_INS = (Path("/usr/share/datasets/fashion-mnist"), Path(".cache/demo/fashion-mnist/products.csv"))

# MNIST's own format: two zero bytes, 8 for bytes, the number of dimensions, big-endian lengths, values.
_PHOTOS, _LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
_IDX_FOLDERS = (".", "MNIST/raw", "FashionMNIST/raw", "raw")
# The first ten labels tell which of the sets of MNIST's shape it is.
_FIRST = {(5, 0, 4, 1, 9, 2, 1, 3, 1, 4): MNIST, (9, 0, 0, 3, 0, 2, 7, 2, 5, 5): FASHION}
_FASHION_LABELS = {"Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag"}
# CIFAR-10's binary version: a byte for the class, then all red values, all green, all blue.
_BINARY, _RECORD = "data_batch_{}.bin", 1 + 3 * 32 * 32
# A shorter sample is repeated to the whole number; of less than this, one photo would be seen all the time.
_FEWEST = 1000
_NO_ANSWER_SECONDS = 10

Bytes = npt.NDArray[np.uint8]
# Training photos, uint8 ``[N, S, S]`` or ``[N, S, S, 3]``, and classes of a set that is fetched into a folder.
Fetch = Callable[[str, Path], tuple[Bytes, Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Classic:
    """A set's training photos.

    Attributes:
        name: of the set that they are of; ``stands_for`` is the one whose time they give, the same or MNIST.
        photos: uint8 ``[N, S, S, 3]``.
        repeated: whether there were fewer, and each is there more than once.
    """

    name: str
    stands_for: str
    photos: Bytes
    truth: Sequence[int]
    repeated: bool = False

    @property
    def title(self) -> str:
        """The name, with what it stands for."""
        return self.name if self.name == self.stands_for else f"{self.name}{STANDS_FOR}{self.stands_for}"


def gather(paths: Sequence[Path], fetch: Fetch, progress: Progress) -> tuple[list[Classic], list[str]]:
    """MNIST and CIFAR-10 as far as they can be had, and why the others cannot.

    ``paths`` are local copies; what they lack is fetched, or else MNIST has a stand-in.
    Raises DataError for a path that is neither set, InputError where there is none at all.
    """
    found = {classic.stands_for: classic for classic in (read(path, progress) for path in reversed(paths))}
    missing = []
    for name in SHAPES:
        if name in found:
            continue
        try:
            progress.say(f"Fetching {name}, unless the cache has it")
            found[name] = _classic(name, *fetch(name, cache_folder() / "datasets"))
        except Exception as error:  # torchvision passes on whatever the network and its archives trip over
            stand_in = next((path for path in STAND_INS if path.exists()), None) if name == MNIST else None
            if stand_in:
                found[name] = read(stand_in, progress)
            else:
                missing.append(f"{name}: no local copy, and it could not be fetched ({_why(error)})")
    if not found:
        raise InputError(
            f"--data: {'; '.join(missing)}; give a local copy: MNIST's or Fashion-MNIST's idx files (Debian's package "
            "dataset-fashion-mnist has them), CIFAR-10's binary version, torchvision's folder, or a table"
        )
    return [found[name] for name in SHAPES if name in found], missing


def _why(error: Exception) -> str:
    # torchvision tells all mirrors in one error; the last one's reason will do.
    return reason(error).rpartition("got: ")[2].strip("<>")


def from_torchvision(name: str, folder: Path) -> tuple[Bytes, Sequence[int]]:
    """See Fetch. Raises whatever the network and torchvision raise."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NO_ANSWER_SECONDS)
    try:
        # Its bars are no part of ours.
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            kind = datasets.MNIST if name == MNIST else datasets.CIFAR10
            came = kind(str(folder), train=True, download=True)
    finally:
        socket.setdefaulttimeout(before)
    return np.asarray(came.data), [int(number) for number in came.targets]


def read(path: Path, progress: Progress) -> Classic:
    """The set in a local copy. Raises DataError where it is none of the three."""
    for folder in (path / inner for inner in _IDX_FOLDERS):
        if any((folder / f"{_PHOTOS}{suffix}").is_file() for suffix in ("", ".gz")):
            truth = _idx(folder, _LABELS).tolist()
            name = _FIRST.get(tuple(truth[:10]))
            if name is None:
                raise DataError(f"{folder}: expected MNIST or Fashion-MNIST, found labels of another set")
            return _classic(name, _idx(folder, _PHOTOS), truth)
    for folder in (path, path / "cifar-10-batches-bin"):
        if (folder / _BINARY.format(1)).is_file():
            return _binary(folder)
    pickled = datasets.CIFAR10.base_folder
    for root in (path, path.parent) if path.name == pickled else (path,):
        if (root / pickled).is_dir():
            return _pickled(root)
    return _table(path, progress)


def _classic(name: str, photos: Bytes, truth: Sequence[int]) -> Classic:
    """Grey photos get three channels, which is what a network takes; a shorter Fashion-MNIST is repeated."""
    stands_for = MNIST if name == FASHION else name
    count, side = SHAPES[stands_for]
    few = name == FASHION and _FEWEST <= len(photos) < count
    if photos.shape[1:3] != (side, side) or len(truth) != len(photos) or (len(photos) != count and not few):
        raise DataError(
            f"{name}: expected {count:,} training photos of {side} x {side} pixels, found {len(photos):,} of "
            f"{' x '.join(map(str, photos.shape[1:3]))} and {len(truth):,} labels"
        )
    if photos.ndim == 3:
        photos = np.repeat(photos[..., None], 3, axis=3)
    if few:
        times = math.ceil(count / len(photos))
        photos, truth = np.concatenate([photos] * times)[:count], (list(truth) * times)[:count]
    return Classic(name, stands_for, photos, truth, repeated=few)


def _idx(folder: Path, name: str) -> Bytes:
    path = folder / name
    packed = not path.is_file()
    path = folder / f"{name}.gz" if packed else path
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if packed else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: expected MNIST's training part, found a file that cannot be read ({error})") from None
    rank = content[3] if content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content[4 : 4 + 4 * rank], ">u4").tolist()
    if not rank or len(shape) != rank or len(content) != 4 + 4 * rank + math.prod(shape):
        raise DataError(f"{path}: expected an idx file of bytes, found another or a part of one")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def _binary(folder: Path) -> Classic:
    batches = []
    for number in range(1, 6):
        path = folder / _BINARY.format(number)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
        if not content or len(content) % _RECORD:
            raise DataError(f"{path}: expected records of {_RECORD} bytes, found {len(content):,} bytes")
        batches.append(np.frombuffer(content, np.uint8).reshape(-1, _RECORD))
    records = np.concatenate(batches)
    photos = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return _classic(CIFAR10, np.ascontiguousarray(photos), records[:, 0].tolist())


def _pickled(root: Path) -> Classic:
    """torchvision's CIFAR-10, which it opens only where every file has the published checksum."""
    try:
        came = datasets.CIFAR10(str(root), train=True, download=False)
    except RuntimeError:
        raise DataError(
            f"{root / datasets.CIFAR10.base_folder}: expected the published files, found others, which are pickles "
            "and stay closed; take CIFAR-10's binary version"
        ) from None
    return _classic(CIFAR10, np.asarray(came.data), came.targets)


def _table(path: Path, progress: Progress) -> Classic:
    """A table or class folders, or a folder with the shards of a Hugging Face set."""
    shards = sorted(path.glob("train-*.parquet")) or sorted(path.glob("data/train-*.parquet"))
    rows = [row for shard in shards or [path] for row in list_photos(shard, {}).rows if row.split in ("", "train")]
    labels = sorted({row.label for row in rows})
    side = short_side(rows[0].photo) if rows else 0
    fashion = set(labels) >= _FASHION_LABELS
    name = {(28, True): FASHION, (28, False): MNIST, (32, False): CIFAR10}.get((side, fashion), "")
    few = fashion and len(rows) >= _FEWEST
    if not name or len(labels) != CLASSES or (len(rows) != SHAPES.get(name, SHAPES[MNIST])[0] and not few):
        raise DataError(
            f"{path}: expected MNIST (60,000 training photos of 28 pixels) or CIFAR-10 (50,000 of 32) in {CLASSES} "
            f"classes, found {len(rows):,} photos, the first of {side} pixels, in {len(labels)}"
        )
    rule = ResizeRule(size=side, crop=1.0, filter="bicubic")

    def decoded(row: Row) -> Pixels:
        try:
            return prepare(row.photo.read(), rule)
        except PhotoError as error:
            raise DataError(f"{path}: {row.image}: {error}") from None

    photos = np.empty((len(rows), side, side, 3), np.uint8)
    with progress.stage(f"Decoding {name}", len(rows)) as advance:
        for place, photo in enumerate(in_order(decoded, rows, cores(), ahead=64)):
            photos[place] = photo
            advance(1)
    return _classic(name, photos, [labels.index(row.label) for row in rows])
