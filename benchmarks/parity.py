"""The exported file against the evaluated scores on all test photos, also by the script in the docs."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np

from benchmarks.harness import PROJECT, TABLE, bar, embeddings, scratch
from kramar import load, train
from kramar.data.sources import list_photos


def main() -> None:
    """Score the test photos from the cached features, with the file, and with the documented script."""
    import onnx
    from onnx import numpy_helper

    folder = scratch("parity")
    run = train(TABLE, folder / "run", budget="5m", rungs="head")
    model = load(run.path / "model.onnx")
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(model.path).graph.initializer}
    rows = [row for row in list_photos(TABLE, {}).rows if row.split == "test"]
    _, embedded = embeddings(rows)
    logits = (embedded @ weights["head.weight"] + weights["head.bias"]) / model.card.temperature
    source = np.exp(logits - logits.max(1, keepdims=True))
    source /= source.sum(1, keepdims=True)
    exported = np.stack(
        [found for _, found in model.stream_scores(row.photo for row in rows) if isinstance(found, np.ndarray)]
    )
    differing = int((exported.argmax(1) != source.argmax(1)).sum())
    largest = float(np.abs(exported - source).max())
    bar("test photos whose label differs", f"{differing} of {len(rows)}", "0", differing == 0)
    bar("largest probability difference", f"{largest:.1e}", "at most 1e-4", largest <= 1e-4)

    script = folder / "classify.py"
    page = (PROJECT / "docs" / "model-file.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert block, "docs/model-file.md has no Python block"
    script.write_text(block[1], encoding="utf-8")
    paths = [str(TABLE.parent / row.image) for row in rows]
    printed = subprocess.run(
        [sys.executable, str(script), str(model.path), *paths], capture_output=True, text=True, check=True
    ).stdout
    labels = [line.split("\t")[1] for line in printed.splitlines()]
    ours = [model.classes[i] for i in exported.argmax(1)]
    wrong = sum(a != b for a, b in zip(labels, ours, strict=True))
    lines = len([line for line in block[1].splitlines() if line.strip()])
    bar(f"labels that the {lines}-line script in the docs gives differently", str(wrong), "0", wrong == 0)
