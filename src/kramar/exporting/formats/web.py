"""A folder for any web host: a page that classifies photos on its visitor's own device, without a server."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from importlib import resources
from pathlib import Path

import numpy as np

from kramar.data.pixels import Pixels
from kramar.exporting.exported import Format, Said, Source
from kramar.exporting.npm import Package, unpack
from kramar.exporting.own_folder import RECORD, hashes
from kramar.records import ModelCard
from kramar.runtime.model import Model

RUNTIME = Package(
    "onnxruntime-web",
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    33_106_585,
)
_MODEL, _CHECK, _OFFLINE = "model.onnx", "check.json", "offline.js"
# Hosts know .js as a script, and not all of them .mjs.
_RUNTIME_FILES = {
    "dist/ort.wasm.bundle.min.mjs": "onnxruntime.js",
    "dist/ort-wasm-simd-threaded.wasm": "onnxruntime.wasm",
}
# The service's page, but for what asks the service, and ours in its place.
_SHARED, _OWN = ("kramar.serving", "site"), ("kramar.exporting", "site")
_NOT_SHARED = ("key_form.js",)
# As the service's, from the page's own head, since a static host sends none: workers, and WebAssembly in them.
_POLICY = "; ".join((
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types kramar",
))  # fmt: skip


def _write(source: Source, folder: Path) -> ModelCard:
    page = folder / "page"
    page.mkdir()
    shutil.copyfile(source.model.path, folder / _MODEL)
    for package, place in (_SHARED, _OWN):
        for file in resources.files(package).joinpath(place).iterdir():
            if file.name not in _NOT_SHARED:
                target = folder if file.name in ("index.html", _OFFLINE) else page
                (target / file.name).write_bytes(file.read_bytes())
    index = folder / "index.html"
    index.write_text(_own_page(index.read_text(encoding="utf-8")), encoding="utf-8")
    files = {inside: page / name for inside, name in _RUNTIME_FILES.items()}
    unpack(RUNTIME, source.package, files, source.progress)
    (probabilities,) = source.model.scores(check_photo(source.model.card.resize.size)[None])
    (folder / _CHECK).write_text(json.dumps({"probabilities": probabilities.tolist()}), encoding="utf-8")
    _keep_offline(folder)
    return source.model.card


def _own_page(html: str) -> str:
    """The service's page with a policy of its own and without the form for a key."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    for pattern, ours in (
        (r'(?<=<meta charset="utf-8">\n)', f"{policy}\n"),
        (r'    <form class="key-form".*?</form>\n', ""),
        (r" The same answers come from <code>.*?</code>\.", ""),
    ):
        html, changed = re.subn(pattern, ours, html, flags=re.DOTALL)
        assert changed == 1, f"the page has {pattern!r} once"
    return html


def _keep_offline(folder: Path) -> None:
    """Tell the script that keeps files which there are; its own content changes with any of theirs."""
    script = folder / _OFFLINE
    found = hashes(folder)
    version = hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]
    files = ["./", *(name for name in found if name != _OFFLINE), RECORD]
    head = f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(files, indent=1)};\n\n"
    script.write_text(head + script.read_text(encoding="utf-8"), encoding="utf-8")


def check_photo(size: int) -> Pixels:
    """The photo that the page tries its runtime with, uint8 ``[size, size, 3]``: worker.js draws the same."""
    places = np.arange(size * size * 3, dtype=np.uint64)
    return (
        ((places * np.uint64(2_654_435_761)) % np.uint64(2**32) >> np.uint64(24))
        .astype(np.uint8)
        .reshape(size, size, 3)
    )


def _opened(folder: Path) -> Said:
    return Model(folder / _MODEL).scores


FORMAT = Format("web", "a folder for a web host, without a server", _write, _opened, package=RUNTIME.name)
