"""What an engineer writes in half an hour: FastAPI, onnxruntime and a thread pool, with the same model file.

``python -m benchmarks.plain_handler MODEL PORT THREADS WORKERS``: threads of each session, processes.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import Depends, FastAPI, Request
from PIL import Image


def create() -> FastAPI:
    """The handler, of the model and with the threads that the environment names."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ["PLAIN_THREADS"])
    session = ort.InferenceSession(os.environ["PLAIN_MODEL"], options, providers=["CPUExecutionProvider"])
    card = json.loads(session.get_modelmeta().custom_metadata_map["kramar"])
    size, crop = card["resize"]["size"], card["resize"]["crop"]
    app = FastAPI()

    async def body(request: Request) -> bytes:
        return await request.body()

    @app.post("/v1/classify")
    def classify(data: bytes = Depends(body)) -> dict[str, Any]:
        image = Image.open(io.BytesIO(data))
        image.draft("RGB", (size, size))
        rgb = image.convert("RGB")
        side = crop * min(rgb.size)
        left, top = (rgb.width - side) / 2, (rgb.height - side) / 2
        square = rgb.resize(
            (size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side), reducing_gap=3.0
        )
        (probabilities,) = session.run(["probabilities"], {"images": np.asarray(square)[None]})
        best = int(probabilities[0].argmax())
        return {
            "predictions": [{"label": card["classes"][best]["label"], "probability": float(probabilities[0, best])}]
        }

    return app


if __name__ == "__main__":
    os.environ["PLAIN_MODEL"], port, os.environ["PLAIN_THREADS"], workers = sys.argv[1:]
    uvicorn.run(
        "benchmarks.plain_handler:create", factory=True, port=int(port), workers=int(workers), log_level="warning"
    )
