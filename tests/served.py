"""Services for the tests: a model file of a few hundred bytes, in this process or behind a port of this machine."""

from __future__ import annotations

import base64
import json
import logging
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import uvicorn
from onnx import TensorProto, helper
from starlette.testclient import TestClient

from drawn import photo
from kramar.records import ClassCard, Decisions, Estimate, Metrics, Promise
from kramar.serving.app import create_app
from kramar.serving.server import listening as server_socket
from kramar.serving.server import server_config
from kramar.serving.settings import ServeConfig
from model_files import card
from shell import command

FRUIT, TREES = ("apple", "fig", "kiwi"), ("ash", "elm", "oak")
SIZE = 16
PHOTOS = [photo(seed) for seed in range(12)]
FORM = 'multipart/form-data; boundary="cut-here"'


def model_file(
    path: Path, labels: Sequence[str] = FRUIT, sharpness: float = 0.05, *, groups: bool = False, maps: bool = False
) -> Path:
    """A model file whose scores are a softmax of the photo's mean colours; it decides, and tells unknown things.

    ``groups`` says whether its first two classes are in a group of their own below the root; ``maps``, whether it
    gives its feature map, the colours, so that it has heat maps.
    """
    promise = Promise(threshold=0.6, photos=200)
    inside = ("Plants/Old/", "Plants/Old/", "Plants/New/") if groups else ("Plants/",) * 3
    right = Estimate(value=0.831, low=0.801, high=0.858, n=676)
    written = card(SIZE, tuple(labels)).model_copy(
        update={
            "classes": [
                ClassCard(label=label, category=group + label) for group, label in zip(inside, labels, strict=True)
            ],
            "metrics": {"test": Metrics.model_construct(**dict.fromkeys(Metrics.model_fields, right))},
            "decisions": Decisions(
                precision_target=0.98,
                auto=promise,
                coarse=promise,
                unknown_above=0.62,
                set_coverage=0.95,
                set_least=0.3,
            ),
        }
    )
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["numbers"], ["feature_map"], perm=[0, 3, 1, 2]),
        helper.make_node("ReduceMean", ["feature_map"], ["embedding"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["embedding", "sharpness"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["probabilities"], ["likeliest"], axes=[1], keepdims=0),
        helper.make_node("Sub", ["one", "likeliest"], ["unknown_score"]),
    ]
    sides: dict[str, list[str | int]] = {"probabilities": ["N", 3], "unknown_score": ["N"]}
    if maps:
        sides |= {"feature_map": ["N", 3, SIZE, SIZE], "embedding": ["N", 3], "logits": ["N", 3]}
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in sides.items()],
        [
            helper.make_tensor("sharpness", TensorProto.FLOAT, [1], np.array([sharpness], np.float32)),
            helper.make_tensor("one", TensorProto.FLOAT, [1], np.array([1], np.float32)),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"kramar": written.model_dump_json()})
    onnx.checker.check_model(model)
    # As a run writes it: whole, and in one step.
    beside = path.with_suffix(".new")
    onnx.save(model, beside)
    beside.replace(path)
    return path


def form(*photos: bytes | tuple[str, bytes], field: str = "photos") -> bytes:
    """A form whose content type is FORM."""
    out = b""
    for number, given in enumerate(photos):
        name, data = given if isinstance(given, tuple) else (f"{number}.png", given)
        head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"'
        out += b"--cut-here\r\n" + head.encode() + b"\r\nContent-Type: image/png\r\n\r\n" + data + b"\r\n"
    return out + b"--cut-here--\r\n"


def document(*photos: bytes) -> bytes:
    """Photos in JSON."""
    return json.dumps({"photos": [{"data": base64.b64encode(data).decode()} for data in photos]}).encode()


@contextmanager
def inside(config: ServeConfig, **stand_ins: Any) -> Iterator[TestClient]:
    """A client of the service in this process; an answer that its description lacks fails the test."""
    with TestClient(create_app(config, **stand_ins), raise_server_exceptions=False) as client:
        description = client.get("/openapi.json").json()

        def is_described(answer: Any) -> None:
            endpoint = description["paths"].get(answer.request.url.path, {}).get(answer.request.method.lower())
            if endpoint is not None:
                said = endpoint["responses"][str(answer.status_code)]["content"]
                assert answer.headers["content-type"].partition(";")[0] in said

        client.event_hooks["response"].append(is_described)
        yield client


@contextmanager
def listening(config: ServeConfig) -> Iterator[tuple[str, int]]:
    """The service behind a port of this machine, as long as the block lasts; then it ends as at SIGTERM."""
    with behind_port(server_config(config, create_app(config))) as address:
        yield address


@dataclass(frozen=True)
class Running:
    """A service that is a process of its own; its log is a file: a pipe that nobody reads would fill, and stop it."""

    process: subprocess.Popen[str]
    address: tuple[str, int]
    log: Path

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(how)
        return self.process.wait(60)

    def lines(self) -> list[dict[str, Any]]:
        """What it told so far."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


@contextmanager
def running(log: Path, *arguments: str | Path) -> Iterator[Running]:
    """``kramar serve`` with ``arguments``, on a free port, as long as the block lasts at most."""
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command("serve", *arguments, "--port", "0"), stdout=subprocess.PIPE, stderr=file, encoding="utf-8"
        ) as process,
    ):
        try:
            assert process.stdout is not None
            found = re.fullmatch(r"http://(.+):(\d+)\n", process.stdout.readline())
            assert found is not None, log.read_text(encoding="utf-8")
            yield Running(process, (found[1], int(found[2])), log)
        finally:
            if process.poll() is None:  # the test failed
                for one in (*psutil.Process(process.pid).children(recursive=True), process):
                    one.kill()


@contextmanager
def behind_port(settings: uvicorn.Config) -> Iterator[tuple[str, int]]:
    """The same of any application."""
    server = uvicorn.Server(settings)
    with server_socket("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join()
            for name in ("kramar.serving", "uvicorn"):
                logging.getLogger(name).handlers.clear()
                logging.getLogger(name).propagate = True
