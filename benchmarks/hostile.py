"""``python -m benchmarks.hostile``: what is made to break the service, sent to one behind a port, again and again.

The photos, bodies, URLs and addresses are those of the tests (tests/test_serve_hostile.py, tests/test_serve_urls.py),
which ask the service in their own process; here there are forged lengths and slow clients as well, and the service's
memory is looked at. All of it is sent once to warm up, then in rounds.
"""

from __future__ import annotations

import importlib
import json
import math
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import PROJECT, bar, scratch
from benchmarks.services import Served, ours

ROUNDS = 20
# What bodies of the tests are made for; a body must be whole after a second here, so that slow ones are over soon.
LIMITS = ("--max-body", "200kB", "--max-photos", "4", "--body-timeout", "1s", "--deadline", "3s")
NAMED = ("http://shop.example", "https://*.shop.example/photos/*", "http://localhost", "http://127.0.0.1",
         "http://[::1]", "http://169.254.169.254", "http://10.0.0.1", "http://[fd00:ec2::254]")  # fmt: skip
CLOSED = 0  # the status of a connection that ended without an answer
_JSON = "application/json"


@dataclass(frozen=True)
class Hostile:
    """Something to send: its name, its kind (a row of the table), the packets that it comes in, seconds between them.

    ``expected`` are the statuses that tell it clearly.
    """

    name: str
    kind: str
    packets: list[bytes]
    expected: frozenset[int]
    pause: float = 0.0


def request(body: bytes, content_type: str = "image/jpeg", *headers: str, length: str | None = None) -> bytes:
    """A request of raw bytes; ``length`` is what it says of its body, truly by default."""
    lines = ["POST /v1/classify HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {content_type}", *headers]
    if not any(line.startswith("Transfer-Encoding") for line in headers):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def tests(name: str) -> Any:
    """A module of the tests."""
    if str(PROJECT / "tests") not in sys.path:
        sys.path.insert(0, str(PROJECT / "tests"))
    return importlib.import_module(name)


def photos_and_bodies() -> Iterator[Hostile]:
    """Bad photos, bombs, polyglots, broken forms and JSON."""
    known, served = tests("test_serve_hostile"), tests("served")
    unreadable, told = frozenset({413, 422}), frozenset({400, 413})
    for name, data in known.BAD_PHOTOS.items():
        for body, content_type in (
            (data, "image/jpeg"),
            (served.form(data), served.FORM),
            (served.document(data), _JSON),
        ):
            yield Hostile(name, "bad photos and bombs", [request(body, content_type)], unreadable)
    # Whoever ignores the text sees a photo, which it is.
    yield Hostile("a photo with a text bomb", "bad photos and bombs", [request(known.text_bomb(), "image/png")],
                  unreadable | {200})  # fmt: skip
    photo, page = served.PHOTOS[0], b"<script>alert(1)</script>"
    end = photo.index(b"IDAT") - 4
    polyglots = {
        "a photo that is a zip as well": photo + b"PK\x03\x04" + bytes(500) + b"PK\x05\x06" + bytes(18),
        "a photo that is a page as well": photo + b"<!doctype html>" + page,
        "a photo with a script inside": photo[:end] + known.chunk(b"tEXt", b"Comment\0" + page) + photo[end:],
        "a photo with PHP behind": photo + b"<?php system($_GET['c']); ?>",
    }
    for name, data in polyglots.items():
        yield Hostile(name, "polyglots: the photo alone is seen", [request(data)], frozenset({200}))
    fakes = {
        "a GIF's head before a script": b"GIF89a/*" + bytes(100) + b"*/=1;alert(1)",
        "a JPEG's head before a zip": b"\xff\xd8\xff\xe0PK\x03\x04" + bytes(500),
        "a PDF before a photo": b"%PDF-1.4\n" + photo,
    }
    for name, data in fakes.items():
        yield Hostile(name, "polyglots that are no photo", [request(data)], unreadable)
    for name, (body, content_type, status) in known.BODIES.items():
        if name == "10,000 parts":
            continue  # the test has fewer
        kind = "broken or deep JSON" if content_type == _JSON else "broken or huge forms and bodies"
        yield Hostile(name, kind, [request(body, content_type)], frozenset({status}))
    yield Hostile("a photo that is not Base64", "broken or deep JSON",
                  [request(b'{"photos": [{"data": "not Base64!"}]}', _JSON)], frozenset({422}))  # fmt: skip
    parts = b"".join(b'--b\r\nContent-Disposition: form-data; name="photos"\r\n\r\n\r\n' for _ in range(10_000))
    for count in (3000, 10_000):
        part = parts[: len(parts) // 10_000 * count] + b"--b--\r\n"
        yield Hostile(f"{count:,} parts", "forms of thousands of parts",
                      [request(part, "multipart/form-data; boundary=b")], frozenset({413}))  # fmt: skip
    small = b"".join(b'--b\r\nContent-Disposition:form-data;name=""' for _ in range(4000)) + b"--b--\r\n"
    yield Hostile("parts that never begin", "forms of thousands of parts",
                  [request(small, "multipart/form-data; boundary=b")], told)  # fmt: skip


def lengths() -> Iterator[Hostile]:
    """Lengths that are not those of what comes."""
    photo = tests("served").PHOTOS[0]
    refused, kind = frozenset({400}), "forged lengths"
    for length in ("-1", "+5", "5, 6", "0x10", "ten", "", "1e3", "12_0"):
        yield Hostile(f"length {length!r}", kind, [request(photo, length=length)], refused)
    for length in ("200001", "99999999999999", "9" * 5000):
        yield Hostile(f"length {length[:20]}", kind, [request(photo, length=length)], frozenset({400, 413}))
    # The photo is cut where its length says; what is behind is a request that is none.
    yield Hostile("shorter than the photo", kind, [request(photo, length="30")], frozenset({422}))
    yield Hostile("two lengths", kind, [request(photo, "image/png", "Content-Length: 3")], refused)
    yield Hostile("longer than what comes", kind, [request(photo, length=str(len(photo) + 9))], frozenset({408}))
    chunked, kind = "Transfer-Encoding: chunked", "chunks"
    large = b"".join(b"3e8\r\n" + bytes(1000) + b"\r\n" for _ in range(400)) + b"0\r\n\r\n"
    yield Hostile("more than is allowed", kind, [request(large, "image/png", chunked)], frozenset({413}))
    yield Hostile("a chunk of no number", kind, [request(b"zz\r\nabc\r\n", "image/png", chunked)], refused)
    yield Hostile("a chunk of 2^64 bytes", kind, [request(b"ffffffffffffffff\r\nab", "image/png", chunked)],
                  frozenset({400, 408}))  # fmt: skip
    yield Hostile("gzip in chunks", kind, [request(b"0\r\n\r\n", "image/png", "Transfer-Encoding: gzip, chunked")],
                  frozenset({400, 501}))  # fmt: skip
    both = request(b"0\r\n\r\n", "image/png", chunked, "Content-Length: 5")
    yield Hostile("chunks and a length", kind, [both], frozenset({400, 422}))
    yield Hostile("a body that is compressed", "other heads", [request(photo, "image/png", "Content-Encoding: gzip")],
                  frozenset({415}))  # fmt: skip
    yield Hostile(
        "no HTTP", "other heads", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 3 + b"\r\n\r\n"], refused
    )
    yield Hostile("a head of 200 kB", "other heads", [request(photo, "image/png", "X: " + "a" * 200_000)], refused)
    yield Hostile("a header in two lines", "other heads", [request(photo, "image/png", "X: a", " b")],
                  frozenset({200, 400}))  # fmt: skip


def slow() -> Iterator[Hostile]:
    """Clients who do not come to the point."""
    photo = tests("served").PHOTOS[0]
    whole = request(photo)
    at = whole.index(b"\r\n\r\n") + 4
    late = frozenset({408})
    yield Hostile("a body that stops", "slow bodies", [whole[:-20]], late)
    yield Hostile("a byte of a body at a time", "slow bodies",
                  [whole[:at], *(whole[place : place + 1] for place in range(at, at + 30))], late, 0.1)  # fmt: skip
    form = request(b'--b\r\nContent-Disposition: form-data; name="photos"\r\n\r\n', "multipart/form-data; boundary=b",
                   length="100000")  # fmt: skip
    yield Hostile("a form that stops", "slow bodies", [form], late)


def urls() -> Iterator[Hostile]:
    """URLs that lead elsewhere than they may, and addresses that nobody may reach, each alone in a request."""
    known = tests("test_serve_urls")
    hosts = [f"http://[{one}]/" if ":" in one else f"http://{one}/" for one in known.REFUSED_ADDRESSES if one]
    for url in dict.fromkeys((*known.REFUSED_URLS, *hosts)):
        body = json.dumps({"photos": [{"url": url}]}).encode()
        # One that is too long for the description is malformed.
        yield Hostile(url[:60], "URLs (SSRF)", [request(body, _JSON)], frozenset({422} if len(url) <= 4096 else {400}))


def sent(port: int, one: Hostile) -> tuple[int, dict[str, Any]]:
    """The status that it got, and what was said; `CLOSED` where the connection ended without an answer."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as client:
        try:
            for packet in one.packets:
                client.sendall(packet)
                if one.pause:
                    time.sleep(one.pause)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was answered before all was said
        try:
            while b"\r\n\r\n" not in answer and (more := client.recv(65536)):
                answer += more
            head, _, body = answer.partition(b"\r\n\r\n")
            # What has no length ends with the connection.
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), math.inf
            )
            while len(body) < length and (more := client.recv(65536)):
                body += more
        except ConnectionResetError:
            head, body = answer, b""
    if not head:
        return CLOSED, {}
    try:
        said = json.loads(body)
    except ValueError:
        said = {"error": body.decode("utf-8", "replace")}
    return int(head[9:12]), said


@contextmanager
def canary() -> Iterator[Callable[[], int]]:
    """How often somebody connected to port 80 of this machine, where refused URLs would lead."""
    connected = 0
    listeners = []
    # The addresses of this machine that are among those that are refused; to 0.0.0.0 and :: leads the first of each.
    for host in ("127.0.0.1", "127.8.9.10", "::1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listeners.append(socket.create_server((host, 80), family=family))

    def accept(listener: socket.socket) -> None:
        nonlocal connected
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            connected += 1
            client.close()

    threads = [threading.Thread(target=accept, args=(one,), daemon=True) for one in listeners]
    for thread in threads:
        thread.start()
    try:
        yield lambda: connected
    finally:
        for one in listeners:
            one.shutdown(socket.SHUT_RDWR)
            one.close()


def lives(served: Served) -> bool:
    """Whether it answers a photo."""
    status, said = sent(served.port, Hostile("", "", [request(tests("served").PHOTOS[0])], frozenset({200})))
    return status == 200 and bool(said["predictions"][0]["label"])


def main(rounds: int = ROUNDS) -> None:
    """Print a row for each kind, and the bars."""
    folder = scratch("hostile")
    model: Path = tests("served").model_file(folder / "model.onnx")
    quick, waits = [*photos_and_bodies(), *lengths(), *urls()], list(slow())
    waits += [one for one in quick if 408 in one.expected]
    quick = [one for one in quick if 408 not in one.expected]
    options = [*LIMITS, *(word for pattern in NAMED for word in ("--allow-urls", pattern))]
    wrong: list[str] = []
    rows: dict[str, list[tuple[int, float, float]]] = {}
    with canary() as connected, ours(model, folder, options) as served:
        for one in (*quick, *waits):
            status, said = sent(served.port, one)
            clear = status == 200 or (status in range(400, 500) and str(said.get("error", "")).strip())
            if status not in one.expected or not clear:
                wrong.append(f"{one.kind}, {one.name}: {status} {str(said)[:160]}")
        assert lives(served)
        first = served.memory
        for number in range(rounds):
            for one in quick if number else (*quick, *waits):
                before = served.memory
                status, _ = sent(served.port, one)
                rows.setdefault(one.kind, []).append((status, before, served.memory))
                if status not in one.expected:
                    wrong.append(f"{one.kind}, {one.name}, again: {status}")
        alive, last, reached = lives(served) and served.process.poll() is None, served.memory, connected()
    print("| input | sent | statuses | MB before | MB after | most |\n|---|---|---|---|---|---|")
    for kind, found in rows.items():
        statuses = ", ".join(map(str, sorted({status for status, _, _ in found})))
        least, most = found[0][1], max(after for _, _, after in found)
        print(f"| {kind} | {len(found)} | {statuses} | {least:.0f} | {found[-1][2]:.0f} | {most:.0f} |")
    for line in wrong:
        print(f"      {line}")
    forms = len({one.name for one in quick if one.kind.startswith("URLs")})
    bar(f"{len(quick) + len(waits)} hostile inputs, not told clearly", str(len(wrong)), "0", not wrong)
    bar(f"{forms} forms of URLs, connections to this machine", str(reached), "0", reached == 0)
    bar("memory before and after all rounds", f"{first:.0f} and {last:.0f} MB", "at most 10% more", last <= 1.1 * first)
    bar("a photo is answered after all", str(alive), "True", alive)


if __name__ == "__main__":
    main()
