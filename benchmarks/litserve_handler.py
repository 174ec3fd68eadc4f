"""The same model file behind LitServe, as its documentation has it: a ``LitAPI`` that decodes, predicts and encodes.

``python -m benchmarks.litserve_handler MODEL PORT THREADS WORKERS BATCH MILLISECONDS DECODERS SERVERS``: threads of
each session, inference processes, photos of a batch, how long a batch waits, threads that decode a batch's photos, and
HTTP processes. LitServe (``pip install litserve``; 0.2.19 was measured) is a tool of the benchmark alone.

Its ``fast_queue`` is left out: in 0.2.19 the option does not reach the transport (``TransportConfig`` has no field of
the name that ``LitServer`` gives it).
"""
# Annotations are not postponed here: LitServe reads what a request is from them, and takes them as they are.

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import Depends, Request

from benchmarks.plain_handler import Labeller, listener

try:
    import litserve
except ModuleNotFoundError:
    sys.exit("LitServe is not installed: pip install litserve")

Images = npt.NDArray[np.uint8]


async def _body(request: Request) -> bytes:
    return await request.body()


class Classifier(litserve.LitAPI):  # type: ignore[misc]  # it is not typed
    """Bytes of a photo to its label."""

    def __init__(self, model: str, threads: int, decoders: int, **named: Any) -> None:
        super().__init__(**named)
        self._model, self._threads, self._decoder_threads = model, threads, decoders

    def setup(self, device: object) -> None:  # noqa: ARG002 - LitServe's signature
        """See LitAPI: once in each inference process."""
        self._labeller = Labeller(self._model, self._threads, spin=False)
        self._decoders = ThreadPoolExecutor(self._decoder_threads)

    def decode_request(self, request: Annotated[bytes, Depends(_body)]) -> Any:
        """See LitAPI: in a batch the photos are decoded together, on several threads."""
        return request if self.max_batch_size > 1 else self._labeller.pixels(request)[None]

    def batch(self, inputs: list[bytes]) -> Images:
        """See LitAPI."""
        return np.stack(list(self._decoders.map(self._labeller.pixels, inputs)))

    def predict(self, x: Images) -> Any:
        """See LitAPI."""
        found = self._labeller.answers(x)
        return found if self.max_batch_size > 1 else found[0]

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """See LitAPI."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """See LitAPI."""
        return output


def main(model: str, port: str, *numbers: str) -> None:
    """Serve until the process is told to end."""
    threads, workers, batch, wait, decoders, servers = map(int, numbers)
    api = Classifier(model, threads, decoders, api_path="/v1/classify", max_batch_size=batch, batch_timeout=wait / 1000)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers, timeout=False)

    # Its own would send small packets late (`plain_handler.listener`).
    uvicorn.Config.bind_socket = lambda self: listener(self.port)  # type: ignore[method-assign]
    server.run(
        port=int(port),
        host="127.0.0.1",
        num_api_servers=servers,
        log_level="warning",
        generate_client_file=False,
        pretty_logs=False,
        access_log=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
