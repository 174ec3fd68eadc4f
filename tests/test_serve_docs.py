"""What docs/serve.md and the README say of the service: its commands run, its figures are the code's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from kramar.serving.keys import Keys
from kramar.serving.settings import (
    DEFAULT_BODY_TIMEOUT,
    DEFAULT_DEADLINE,
    DEFAULT_MAX_BODY,
    DEFAULT_MAX_PHOTOS,
    DEFAULT_MAX_PIXELS,
    DEFAULT_MAX_WAITING,
    DEFAULT_RATE,
    ServeConfig,
)
from served import PHOTOS, listening, model_file

ROOT = Path(__file__).resolve().parent.parent
CURLS = [
    found
    for page in ("README.md", "docs/serve.md")
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    for found in re.findall(r"^curl .*?[^\\]$", block, re.DOTALL | re.MULTILINE)
]


def test_what_is_documented_can_be_asked(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for number in (1, 2):
        (tmp_path / "new" / f"000{number}.jpg").write_bytes(PHOTOS[number])
    assert len(CURLS) == 6
    with listening(ServeConfig(model_file(tmp_path / "model.onnx"))) as address:
        for curl in CURLS:
            asks = curl.replace("127.0.0.1:8000", "{}:{}".format(*address)).replace("curl ", "curl --fail -sS ", 1)
            done = subprocess.run(["sh", "-c", asks], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
            assert done.returncode == 0, (asks, done.stderr)
            assert '"error":"' not in done.stdout.replace('"error":""', ""), done.stdout


def test_the_documented_keys_are_keys(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    (block,) = [found for found in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "key=" in found]
    keys = []
    for _ in range(2):
        done = subprocess.run(["sh", "-c", block], cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
        keys.append(done.stdout.strip())
        (tmp_path / "keys.txt").rename(tmp_path / f"{len(keys)}.txt")
    assert keys[0] != keys[1]
    assert [Keys.read(tmp_path / "1.txt").owner(key) for key in keys] == ["shop", None]


def test_the_documented_limits_are_the_defaults() -> None:
    page = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\|[^|]+\| `(--[a-z-]+)` \| ([^|]+) \|", page, re.MULTILINE))
    assert said == {
        "--max-body": DEFAULT_MAX_BODY,
        "--max-pixels": f"{DEFAULT_MAX_PIXELS:,}",
        "--max-photos": str(DEFAULT_MAX_PHOTOS),
        "--max-waiting": str(DEFAULT_MAX_WAITING),
        "--rate": str(DEFAULT_RATE),
        "--deadline": DEFAULT_DEADLINE,
        "--body-timeout": DEFAULT_BODY_TIMEOUT,
    }
