"""What an engineer writes in half an hour: FastAPI, onnxruntime and a thread pool, with the same model file.

``python -m benchmarks.plain_handler MODEL PORT THREADS WORKERS SPIN``: threads of each session, processes, and whether
onnxruntime's threads spin (1 or 0). Where uvloop and httptools are installed, uvicorn takes them.
"""

from __future__ import annotations

import io
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import uvicorn
from fastapi import Depends, FastAPI, Request
from PIL import Image
from uvicorn.supervisors import Multiprocess


class Labeller:
    """The model file in a few lines: what both handlers share, so that neither decodes in its own way."""

    def __init__(self, model: str | Path, threads: int, *, spin: bool) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        self._session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        card = json.loads(self._session.get_modelmeta().custom_metadata_map["kramar"])
        self._size, self._crop = card["resize"]["size"], card["resize"]["crop"]
        self._labels = [one["label"] for one in card["classes"]]

    def pixels(self, data: bytes) -> npt.NDArray[np.uint8]:
        """The model's input, uint8 ``[S, S, 3]``, of a photo's file."""
        image = Image.open(io.BytesIO(data))
        image.draft("RGB", (round(self._size / self._crop), round(self._size / self._crop)))
        rgb = image.convert("RGB")
        side = self._crop * min(rgb.size)
        left, top = (rgb.width - side) / 2, (rgb.height - side) / 2
        box = (left, top, left + side, top + side)
        return np.asarray(
            rgb.resize((self._size, self._size), Image.Resampling.BICUBIC, box, reducing_gap=3.0), np.uint8
        )

    def answers(self, images: npt.NDArray[np.uint8]) -> list[dict[str, Any]]:
        """An answer for each image of a batch, uint8 ``[N, S, S, 3]``."""
        (probabilities,) = self._session.run(["probabilities"], {"images": images})
        best = probabilities.argmax(axis=1)
        return [
            {"predictions": [{"label": self._labels[label], "probability": float(own[label])}]}
            for own, label in zip(probabilities, best, strict=True)
        ]


def create() -> FastAPI:
    """The handler, of the model and with the threads that the environment names."""
    labeller = Labeller(
        os.environ["PLAIN_MODEL"], int(os.environ["PLAIN_THREADS"]), spin=os.environ["PLAIN_SPIN"] == "1"
    )
    app = FastAPI()

    async def body(request: Request) -> bytes:
        return await request.body()

    @app.post("/v1/classify")
    def classify(data: bytes = Depends(body)) -> dict[str, Any]:
        return labeller.answers(labeller.pixels(data)[None])[0]

    return app


def listener(port: int) -> socket.socket:
    """A socket whose connections send small packets at once.

    The one that uvicorn makes for several workers names no protocol, and asyncio turns Nagle's algorithm off only for
    TCP by name: an answer's second packet then waits 40 ms for the client's word on the first.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Linux gives it to the connections that come in here.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.bind(("127.0.0.1", port))
    made.listen(2048)
    return made


def main(model: str, port: str, threads: str, workers: str, spin: str) -> None:
    """Serve until the process is told to end."""
    os.environ |= {"PLAIN_MODEL": model, "PLAIN_THREADS": threads, "PLAIN_SPIN": spin}
    config = uvicorn.Config(
        "benchmarks.plain_handler:create", factory=True, workers=int(workers), log_level="warning", access_log=False
    )
    with listener(int(port)) as own:
        if config.workers == 1:
            uvicorn.Server(config).run([own])
        else:
            Multiprocess(config, [own]).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
