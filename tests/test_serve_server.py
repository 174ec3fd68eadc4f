"""The service behind a real port: slow and forged clients, and an end that answers all that was accepted."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from kramar.serving import connection
from kramar.serving.connection import Connection
from kramar.serving.metrics import SHARED_FOLDER
from kramar.serving.server import listening as server_socket
from kramar.serving.settings import Limits, ServeConfig
from served import FORM, FRUIT, PHOTOS, form, listening, model_file, running
from shell import complaint, kramar

Address = tuple[str, int]
COUNTED = 'kramar_requests_total{method="POST",path="/v1/classify",status="200"}'
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LIMITS = Limits(body=100_000)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_file(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def address(model: Path) -> Iterator[Address]:
    with listening(ServeConfig(model, limits=LIMITS)) as address:
        yield address
        assert classified(address) == 200, "it lives"


def classified(address: Address) -> int:
    with closing(http.client.HTTPConnection(*address, timeout=30)) as client:
        client.request("POST", "/v1/classify", form(*PHOTOS), {"Content-Type": FORM})
        return client.getresponse().status


def asked(address: Address, path: str) -> str:
    with closing(http.client.HTTPConnection(*address, timeout=30)) as client:
        client.request("GET", path)
        return client.getresponse().read().decode()


def head(length: object = "", path: str = "/v1/classify", **more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: kramar", "Content-Type: image/png"]
    lines += [f"Content-Length: {length}"] if length != "" else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def said(client: socket.socket) -> tuple[int, str]:
    """The next answer's status and body."""
    answer = http.client.HTTPResponse(client)
    with closing(answer):
        answer.begin()
        return answer.status, answer.read().decode()


def open_to(address: Address) -> socket.socket:
    return socket.create_connection(address, 30)


def is_closed(client: socket.socket) -> bool:
    """Whether the other side ends; what it says before is thrown away."""
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_several_requests_on_one_connection(address: Address) -> None:
    with open_to(address) as client:
        for data in PHOTOS[:3]:
            client.sendall(head(len(data)) + data)
            assert said(client)[0] == 200
        bad = head(5) + b"short"
        client.sendall(bad + bad)
        # Both at once: read as they come.
        answers = b""
        while answers.count(b"HTTP/1.1 422") < 2:
            answers += client.recv(65536)


def test_an_answer_does_not_wait_for_the_client_to_confirm_its_head() -> None:
    with server_socket("127.0.0.1", 0) as listener, open_to(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            # What asyncio asks before it turns Nagle's algorithm off.
            assert accepted.proto == socket.IPPROTO_TCP


def test_a_length_that_is_too_large_is_refused_before_the_body(address: Address) -> None:
    for length in (LIMITS.body + 1, 10**12, 10**19 - 1):
        with open_to(address) as client:
            client.sendall(head(length))
            assert said(client)[0] == 413


def test_nobody_is_asked_to_go_on_with_a_body_that_is_refused(address: Address) -> None:
    with open_to(address) as client:
        client.sendall(head(10**6, Expect="100-continue"))
        assert client.recv(12) == b"HTTP/1.1 413"


@pytest.mark.parametrize(
    "forged",
    [
        head("-1"),
        head("1e3"),
        head("٣"),
        head("5, 6") + b"short!",
        head(5, Transfer_Encoding="chunked") + b"0\r\n\r\n" + head("5"),
        head(Transfer_Encoding="chunked") + b"zz\r\n",
        head(Transfer_Encoding="gzip, chunked") + b"0\r\n\r\n",
        b"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nshort!",
        b"POST /v1/classify HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET " + b"a" * 100_000,
        b"nonsense\r\n\r\n",
    ],
    ids=range(12),
)
def test_a_forged_head_is_a_4xx(address: Address, forged: bytes) -> None:
    with open_to(address) as client:
        client.sendall(forged)
        status = re.match(rb"HTTP/1\.1 (\d+)", client.recv(65536))
        assert status is not None
        assert status[1] in (b"400", b"415", b"422")


def test_a_client_that_leaves_in_the_middle(address: Address) -> None:
    for sent in (head(5000) + b"a", head(5000), head(5000)[:40], b""):
        with open_to(address) as client:
            client.sendall(sent)
    assert classified(address) == 200


def test_a_slow_body_is_told(model: Path) -> None:
    with listening(ServeConfig(model, limits=Limits(body_timeout=0.05))) as address, open_to(address) as client:
        client.sendall(head(5000) + b"a")
        status, body = said(client)
        assert (status, json.loads(body)["kind"]) == (408, "slow_body")
        assert "ok" in asked(address, "/healthz")


def test_a_slow_head_is_cut_off(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(ServeConfig(model)) as address, open_to(address) as client:
        client.sendall(head(5) + b"short")
        assert said(client)[0] == 422
        monkeypatch.setattr(Connection, "head_timeout", 0.05)
        client.sendall(b"POST /v1/cl")
        assert is_closed(client), "the second request's"
        for sent in (b"", b"POST /v1/cl", head(5000)[:-2]):
            with open_to(address) as other:
                other.sendall(sent)
                assert is_closed(other)
        monkeypatch.undo()
        assert classified(address) == 200


def test_who_sends_no_http_is_heard_out_and_told(address: Address) -> None:
    """Cut off at once, with what was not read, the answer would be lost on its way."""
    for sent in (b"GET / HTTP/1.1\r\nX: " + bytes(b"x" * 65536) * 16, b"\xff" * 500_000):
        with open_to(address) as client:
            client.sendall(sent[:100_000])
            time.sleep(0.1)
            client.sendall(sent[100_000:])
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"\r\n\r\nInvalid HTTP request received.")
    assert classified(address) == 200


def test_a_client_that_goes_on_after_its_answer_is_cut_off(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LINGER", 0.05)
    with listening(ServeConfig(model, limits=LIMITS)) as address, open_to(address) as client:
        client.sendall(head(10**9))
        assert said(client)[0] == 413

        def go_on() -> None:
            while True:
                client.sendall(bytes(100_000))

        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            go_on()
        assert classified(address) == 200


def test_what_was_accepted_is_answered_before_it_ends(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LAST_CALL", 30.0)
    clients: list[socket.socket] = []
    with listening(ServeConfig(model)) as address:
        for _ in range(8):
            client = open_to(address)
            client.sendall(head(len(PHOTOS[0]), Expect="100-continue"))
            assert client.recv(len(CONTINUE)) == CONTINUE, "the body is waited for"
            clients.append(client)
        idle = open_to(address)
        idle.sendall(head(5) + b"short")
        assert said(idle)[0] == 422
        ended = threading.Event()

        def go_on() -> None:
            # The port is given up first.
            while True:
                try:
                    open_to(address).close()
                except ConnectionError:
                    break
            for client in clients:
                client.sendall(PHOTOS[0])
            idle.sendall(head(len(PHOTOS[1])) + PHOTOS[1])
            ended.set()

        rest = threading.Thread(target=go_on)
        rest.start()
    rest.join()
    assert ended.is_set()
    for client in (*clients, idle):
        with client:
            status, body = said(client)
            assert (status, json.loads(body)["predictions"][0]["label"] in FRUIT) == (200, True)
            assert is_closed(client)


# As a command


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "serve.log"


def test_sigterm_under_load(model: Path, log: Path) -> None:
    with running(log, model) as service:
        clients = [open_to(service.address) for _ in range(20)]
        for client in clients:
            client.sendall(head(len(PHOTOS[0]), Expect="100-continue"))
        for client in clients:
            assert client.recv(len(CONTINUE)) == CONTINUE
        service.process.send_signal(signal.SIGTERM)
        for client in clients:
            client.sendall(PHOTOS[0])
        for client in clients:
            with client:
                assert said(client)[0] == 200
        out, _ = service.process.communicate(timeout=30)
        assert (service.process.returncode, out) == (0, "")
    answered = [line for line in service.lines() if line["event"] == "request"]
    assert len(answered) == 20
    for line in answered:
        assert (line["status"], line["path"], line["photos"]) == (200, "/v1/classify", 1)


def test_a_second_ctrl_c_ends_it_at_once(model: Path, log: Path) -> None:
    with running(log, model) as service, open_to(service.address) as client:
        client.sendall(head(5, Expect="100-continue"))
        assert client.recv(len(CONTINUE)) == CONTINUE
        service.process.send_signal(signal.SIGINT)
        while '"Shutting down"' not in log.read_text(encoding="utf-8"):
            assert service.process.poll() is None
            time.sleep(0.02)
        assert service.end(signal.SIGINT) == 130


def test_the_log_has_no_names_and_no_photos(model: Path, log: Path) -> None:
    with running(log, model) as service:
        with closing(http.client.HTTPConnection(*service.address, timeout=30)) as client:
            body = form(("secret-name.png", PHOTOS[0]), ("secret-too.png", b"secret-content"))
            client.request("POST", "/v1/classify", body, {"Content-Type": FORM, "X-API-Key": "secret-key"})
            assert client.getresponse().read()
            client.request("GET", "/secret-path")
            assert client.getresponse().read()
        assert service.end(signal.SIGINT) == 0
    assert [line["status"] for line in service.lines() if line["event"] == "request"] == [200, 404]
    assert "secret" not in log.read_text(encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="processes share a socket by inheriting it")
def test_several_workers_share_the_port(model: Path, log: Path) -> None:
    with running(log, model, "--workers", "2") as service:
        statuses = [classified(service.address) for _ in range(20)]
        # Either tells the figures of both; a request is counted after its answer, so the last may be missing for a
        # moment.
        while f"{COUNTED} 20.0" not in (figures := asked(service.address, "/metrics")):
            assert COUNTED in figures
            time.sleep(0.02)
        assert (service.end(), statuses) == (0, [200] * 20)
    assert len({line["process"] for line in service.lines() if line["event"] == "Started server process"}) <= 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads another process's environment")
def test_a_worker_that_is_killed_is_replaced_and_forgotten(model: Path, log: Path) -> None:
    def figures_of() -> set[int]:
        return {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*.db")}

    with running(log, model, "--workers", "2") as service:
        own = psutil.Process(service.process.pid)
        while not (folders := [one.environ().get(SHARED_FOLDER) for one in own.children()]) or folders[0] is None:
            time.sleep(0.02)
        folder = Path(folders[0])
        while len(workers := figures_of()) < 2:
            time.sleep(0.02)
        os.kill(killed := min(workers), signal.SIGKILL)
        while len(workers := figures_of()) < 2 or killed in workers:
            assert service.process.poll() is None
            time.sleep(0.02)
        assert [classified(service.address) for _ in range(4)] == [200] * 4
        assert (service.end(), folder.exists()) == (0, False)


def test_what_cannot_be_served_is_told_first(model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    assert "expected an ONNX model" in complaint(kramar("serve", tmp_path / "text.onnx"), 2)
    assert "--api-key-file is needed" in complaint(kramar("serve", model, "--host", "0.0.0.0"), 2)
    assert "--port: expected a whole number from 0 to 65535" in complaint(kramar("serve", model, "--port", "65536"), 2)
    assert "--allow-urls: expected a pattern" in complaint(kramar("serve", model, "--allow-urls", "*"), 2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "Address already in use" in complaint(kramar("serve", model, "--port", port), 2)
