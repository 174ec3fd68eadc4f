"""Makes Fashion-MNIST into a folder that kramar can train on.

Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747; MIT licence) is Zalando's catalogue photos as
grey thumbnails of 28 x 28 pixels: 60,000 for training and 10,000 for testing, in ten classes. The folder has
a fixed sample of the training photos, parted into training and validation, and every test photo, so that its
test accuracy compares with published ones. It is made whole or not at all, and only once::

    python demo/fashion_mnist.py [CACHE]

leaves ``CACHE/fashion-mnist/products.csv`` with the columns image, label and split.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "demo"
ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
PACKAGE = "dataset-fashion-mnist"
# The names in label order; 'T-shirt or top' is 'T-shirt/top' where a slash would make a folder.
LABELS = (
    "T-shirt or top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# SHA-256 of what the archives hold, not of the archives: Debian strips the gzip headers' names and times.
SUMS = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


class DemoError(Exception):
    """The demo's data could not be made; the message is one line that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Photos a class that are drawn for training and for validation, the seed, and the files' sums."""

    train: int = 600
    val: int = 100
    seed: int = 0
    sums: Mapping[str, str] = field(default_factory=lambda: SUMS)


@dataclass(frozen=True, slots=True)
class Part:
    """One official part: uint8 ``images`` [N, 28, 28] and uint8 ``labels`` [N]."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Chosen:
    """One row of the table to be: the photo's place in its official part, its label and its split."""

    index: int
    label: str
    split: str

    @property
    def image(self) -> str:
        """The photo's path inside the folder."""
        return f"{self.split}/{self.label}/{self.index:05d}.png"


Way = Callable[[Path], Path]
"""Fetches the four archives into a folder and returns the folder that they are in."""


def call(command: Sequence[str], folder: Path) -> None:
    """Run ``command`` in ``folder``. Raises DemoError with the last error that it told."""
    if shutil.which(command[0]) is None:
        raise DemoError(f"{command[0]} is not on this machine")
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        raise DemoError(f"{command[0]} gave no answer in 5 minutes") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg"))]
        raise DemoError(errors[-1] if errors else f"{command[0]} failed with exit code {done.returncode}")


def from_debian(folder: Path) -> Path:
    """Debian's package, which any user may download; it is unpacked, not installed."""
    patience = ["-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1"]
    try:
        call(["apt-get", *patience, "download", PACKAGE], folder)
    except DemoError:
        # Fresh machines and containers have no package lists: fetch them, without root, into the folder.
        (folder / "lists" / "partial").mkdir(parents=True)
        (folder / "archives" / "partial").mkdir(parents=True)
        private = [*patience, "-o", f"Dir::State::lists={folder / 'lists'}", "-o", f"Dir::Cache={folder}"]
        call(["apt-get", *private, "update"], folder)
        call(["apt-get", *private, "download", PACKAGE], folder)
    package = next(folder.glob(f"{PACKAGE}_*.deb"), None)
    if package is None:
        raise DemoError(f"apt-get said that it downloaded {PACKAGE}, and left no file")
    call(["dpkg-deb", "-x", package.name, "unpacked"], folder)
    return folder / "unpacked" / "usr" / "share" / "datasets" / "fashion-mnist"


def from_address(folder: Path) -> Path:
    """The authors' own address."""
    for name in SUMS:
        opened = urllib.request.urlopen(f"{ADDRESS}/{name}.gz", timeout=30)  # noqa: S310 - a constant address
        with opened as answer, (folder / f"{name}.gz").open("wb") as file:
            shutil.copyfileobj(answer, file)
    return folder


WAYS: Mapping[str, Way] = {f"Debian's package {PACKAGE}": from_debian, ADDRESS: from_address}


def read_idx(folder: Path, name: str, sums: Mapping[str, str]) -> npt.NDArray[np.uint8]:
    """The array in an idx archive: two zero bytes, type 8 (uint8), the rank, big-endian lengths, the values.

    Raises DemoError where the archive is missing, broken or not the published one.
    """
    path = folder / f"{name}.gz"
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise DemoError(f"{path.name} was expected and is not there") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DemoError(f"{path.name} cannot be unpacked ({error})") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sums[name]:
        raise DemoError(f"{path.name} is not the published one: expected SHA-256 {sums[name]}, found {found}")
    rank = content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_part(folder: Path, prefix: str, sums: Mapping[str, str]) -> Part:
    """The official part whose files start with ``prefix`` (``train`` or ``t10k``)."""
    images = read_idx(folder, f"{prefix}-images-idx3-ubyte", sums)
    return Part(images, read_idx(folder, f"{prefix}-labels-idx1-ubyte", sums))


def fetch(folder: Path, ways: Mapping[str, Way], sums: Mapping[str, str]) -> tuple[Part, Part]:
    """The official training and test parts, by the first way that works.

    Raises DemoError where none does.
    """
    failures = []
    for number, (name, way) in enumerate(ways.items()):
        print(f"Fetching Fashion-MNIST (31 MB) from {name}", flush=True)
        place = folder / f"way-{number}"
        place.mkdir()
        try:
            archives = way(place)
            return read_part(archives, "train", sums), read_part(archives, "t10k", sums)
        except (DemoError, OSError, http.client.HTTPException) as error:
            failures.append(f"{name}: {error}")
    raise DemoError(
        f"Fashion-MNIST could not be fetched, by none of {len(ways)} ways ({'; '.join(failures)}). "
        "Connect to the network and try again, or use your own photos: make demo DATA=FOLDER_OR_TABLE"
    )


def choose(train: Part, test: Part, recipe: Recipe) -> list[Chosen]:
    """The rows: disjoint samples of the training part for training and validation, and all of test."""

    def lot(index: int) -> bytes:
        # Drawn by hash: no library's stream of random numbers can change it.
        return hashlib.sha256(f"{recipe.seed}:{index}".encode()).digest()

    rows = []
    for number, label in enumerate(LABELS):
        drawn = sorted(np.flatnonzero(train.labels == number).tolist(), key=lot)
        rows += [Chosen(index, label, "train") for index in sorted(drawn[: recipe.train])]
        rows += [Chosen(index, label, "val") for index in sorted(drawn[recipe.train :][: recipe.val])]
    return rows + [Chosen(index, LABELS[number], "test") for index, number in enumerate(test.labels.tolist())]


def write(folder: Path, rows: Sequence[Chosen], train: Part, test: Part) -> None:
    """Write the photos as grey PNG files, and the table ``products.csv`` that lists them."""
    print(f"Writing {len(rows):,} photos", flush=True)
    for split, label in sorted({(row.split, row.label) for row in rows}):
        (folder / split / label).mkdir(parents=True)
    for row in rows:
        part = test if row.split == "test" else train
        Image.fromarray(part.images[row.index]).save(folder / row.image)
    with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "label", "split"])
        table.writerows([row.image, row.label, row.split] for row in rows)


def make(cache: Path, ways: Mapping[str, Way] = WAYS, recipe: Recipe | None = None) -> Path:
    """The table ``CACHE/fashion-mnist/products.csv``, made with its photos unless it is there.

    The folder gets its name in one step, when all of it is written. Raises DemoError where it cannot be made.
    """
    recipe = recipe or Recipe()
    folder = cache / "fashion-mnist"
    if folder.exists():
        return folder / "products.csv"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fashion-mnist.", suffix=".tmp", dir=cache) as temporary:
            train, test = fetch(Path(temporary), ways, recipe.sums)
            made = Path(temporary) / "made"
            made.mkdir()
            write(made, choose(train, test, recipe), train, test)
            if sys.platform != "win32":
                os.sync()
            made.rename(folder)
    except OSError as error:
        raise DemoError(f"{folder} could not be written ({error}); choose another cache folder") from error
    return folder / "products.csv"


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description="Make Fashion-MNIST into a folder that kramar can train on.")
    parser.add_argument("cache", type=Path, nargs="?", default=CACHE, help="default: .cache/demo, here")
    try:
        print(f"Fashion-MNIST is in {make(parser.parse_args().cache)}")
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
