"""Photos by URL: only those that are named, only from public addresses, whatever a name or a redirect says."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kramar.errors import InputError, PhotoError, RequestError
from kramar.serving.addresses import is_public
from kramar.serving.bodies import Bodies
from kramar.serving.fetching import Fetcher
from kramar.serving.patterns import Pattern, place
from kramar.serving.settings import Limits, ServeConfig
from served import PHOTOS, inside, model_file

PUBLIC = "93.184.215.14"
HOSTS = ("http://shop.example", "http://inside.example", "http://cdn.example", "http://empty.example")
ANYWHERE = tuple(map(Pattern.parse, (*HOSTS, "http://shop.example:8080", "https://shop.example")))

# Addresses that a host may have, and no photo is fetched from.
REFUSED_ADDRESSES = (
    "127.0.0.1", "127.8.9.10", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.254",
    "192.168.0.1", "192.168.255.255", "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200",
    "100.127.255.255", "192.0.0.8", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.7",
    "203.0.113.9", "192.88.99.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "::1", "::", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "::ffff:93.184.215.14", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1",
    "2001:10::1", "2001:20::1", "3fff::1", "5f00::1", "100::1", "fe80::1", "fe80::1%eth0", "2606:2800::1%eth0",
    "febf::1", "fec0::1", "fc00::1", "fd00:ec2::254", "fdff::1", "ff02::1", "ff0e::1", "8000::1", "no address", "",
)  # fmt: skip

# URLs that only look as if they led to a host that is named, or do not say plainly where they lead.
REFUSED_URLS = (
    "file:///etc/passwd", "ftp://shop.example/1.jpg", "gopher://shop.example:70/_", "data:image/png;base64,AAAA",
    "jar:http://shop.example!/", "dict://shop.example:11211/", "//shop.example/1.jpg", "shop.example/1.jpg", "",
    "http://", "http:///1.jpg", "http:shop.example/1.jpg", "http://127.0.0.1/", "http://[::1]/", "http://localhost/",
    "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/", "http://169.254.169.254/latest/",
    "http://[::ffff:169.254.169.254]/", "http://[fe80::1%25eth0]/", "http://[::1", "http://evil.test/shop.example/",
    "http://shop.example@evil.test/", "http://evil.test@shop.example/", "http://user:word@shop.example/",
    "http://@shop.example/", "http://shop.example.evil.test/", "http://evilshop.example.test/", "http://example/",
    "http://shop.example:22/", "http://shop.example:6379/", "http://shop.example:/", "http://shop.example:99999/",
    "http://shop.example:-1/", "http://shop.example:8o/", "http://shop.example\\@evil.test/", "http:\\\\shop.example\\",
    "http://shop.example#@evil.test/x y", "http://evil.test#.shop.example/", "http://evil.test?.shop.example/",
    "http://evil.test\\.shop.example/", "http://shop.example/\r\nHost: evil.test", "http://shop.example/a b",
    "http://shop.example/\tx", "\thttp://shop.example/", " http://shop.example/", "http://shop.example/\x00",
    "http://ⓢhop.example/", "http://shop。example/", "http://xn--.example%00.test/", "http://sh%6fp.example/",
    "http://shop..example/", "http://.shop.example/", "http://-shop.example/", "http://shop.example/../admin",
    "http://shop.example/%2e%2e/admin", "http://shop.example/" + "a" * 5000, "https://shop.example:80/",
)  # fmt: skip


class Shelf:
    """A server that answers as it is told: for each path a status, headers and a body."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Mapping[str, str], bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.address = ("", 0)


@pytest.fixture(scope="module")
def filled() -> Iterator[Shelf]:
    own = Shelf()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            own.asked.append((self.headers["Host"], self.path))
            status, headers, body = own.answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    own.address = (str(server.server_address[0]), server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield own
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def shelf(filled: Shelf) -> Shelf:
    filled.answers.clear()
    filled.asked.clear()
    return filled


class Internet:
    """A stand-in: names have the addresses that are given, and every public one leads to the shelf."""

    def __init__(self, shelf: Shelf, **addresses: Sequence[str]) -> None:
        self._shelf, self._addresses = shelf, addresses
        self.resolved: list[str] = []
        self.connected: list[tuple[str, int]] = []

    def resolve(self, host: str, _port: int) -> Sequence[str]:
        self.resolved.append(host)
        return self._addresses.get(host.partition(".")[0], [PUBLIC])

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        self.connected.append((address, port))
        assert is_public(address), "nothing else is ever connected to"
        return socket.create_connection(self._shelf.address, seconds)

    def fetch(self, url: str, seconds: float = 5, patterns: tuple[Pattern, ...] = ANYWHERE) -> bytes:
        return Fetcher(patterns, seconds, self.resolve, self.connect).fetch(url, lambda _size: None)


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_an_address_that_is_not_public_is_never_connected_to(shelf: Shelf, address: str) -> None:
    shelf.answers["/from"] = (302, {"Location": "http://inside.example/1.jpg"}, b"")
    for addresses in ([address], [PUBLIC, address], [address, PUBLIC]):
        internet = Internet(shelf, inside=addresses)
        with pytest.raises(PhotoError) as refused:
            internet.fetch("http://inside.example/1.jpg")
        assert (refused.value.kind, internet.connected) == ("refused_url", [])
        assert address == "" or address not in str(refused.value)
        with pytest.raises(PhotoError) as refused:
            internet.fetch("http://shop.example/from")
        assert (refused.value.kind, internet.connected) == ("refused_url", [(PUBLIC, 80)])


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_url_that_is_not_named_is_not_even_looked_up(shelf: Shelf, url: str) -> None:
    internet = Internet(shelf)
    with pytest.raises(PhotoError) as refused:
        internet.fetch(
            url, patterns=tuple(map(Pattern.parse, ("http://shop.example", "https://*.shop.example/photos/*")))
        )
    assert (refused.value.kind, internet.resolved, internet.connected) == ("refused_url", [], [])


# Others are no header's value, or relative: paths of the same host.
@pytest.mark.parametrize("url", [url for url in REFUSED_URLS if re.fullmatch(r"\w+://[!-.0-~][!-~]*", url)])
def test_nor_where_a_redirect_leads_there(shelf: Shelf, url: str) -> None:
    shelf.answers["/from"] = (302, {"Location": url}, b"")
    internet = Internet(shelf)
    with pytest.raises(PhotoError) as refused:
        internet.fetch("http://shop.example/from", patterns=(Pattern.parse("http://shop.example"),))
    assert (refused.value.kind, internet.resolved) == ("refused_url", ["shop.example"])


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "1.1.1.1", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2a00::1"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


def test_a_name_is_looked_up_once_and_the_connection_goes_there(shelf: Shelf) -> None:
    shelf.answers["/1.jpg?size=2"] = (200, {"Content-Type": "text/html"}, PHOTOS[0])
    internet = Internet(shelf, shop=["1.1.1.1", "8.8.8.8"])
    assert internet.fetch("http://Shop.Example:8080/1.jpg?size=2#part") == PHOTOS[0]
    assert (internet.resolved, internet.connected) == (["shop.example"], [("1.1.1.1", 8080)])
    assert shelf.asked == [("shop.example:8080", "/1.jpg?size=2")]


def test_redirects_are_followed_a_few_times(shelf: Shelf) -> None:
    for number, (status, onward) in enumerate([(301, "/1"), (302, "http://cdn.example/2"), (308, "3")]):
        shelf.answers[f"/{number}"] = (status, {"Location": onward}, b"")
    shelf.answers["/3"] = (200, {}, PHOTOS[0])
    internet = Internet(shelf)
    assert internet.fetch("http://shop.example/0") == PHOTOS[0]
    assert internet.resolved == ["shop.example", "shop.example", "cdn.example", "cdn.example"]
    shelf.answers["/3"] = (303, {"Location": "/3"}, b"")
    with pytest.raises(PhotoError, match="more than 3 redirects"):
        internet.fetch("http://shop.example/0")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, {}, b""), "status 404"),
        ((500, {}, PHOTOS[0]), "status 500"),
        ((304, {}, b""), "status 304"),
        ((302, {}, b""), "status 302"),
        ((200, {"Content-Length": "5000"}, b"short"), "broke off"),
        ((200, {"Transfer-Encoding": "chunked"}, b"zz\r\n"), "not fetched"),
        ((200, {"X": "a" * 70_000}, b""), "not fetched"),
        ((200, {f"X-{number}": "a" for number in range(120)}, b""), "not fetched"),
    ],
)
def test_a_server_that_answers_badly(shelf: Shelf, answer: tuple[int, dict[str, str], bytes], message: str) -> None:
    shelf.answers["/1.jpg"] = answer
    with pytest.raises(PhotoError, match=message) as refused:
        Internet(shelf).fetch("http://shop.example/1.jpg")
    assert refused.value.kind == "missing"


def test_a_host_that_has_no_address_or_no_server(shelf: Shelf) -> None:
    def nowhere(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror

    def refused(_address: str, _port: int, _seconds: float) -> socket.socket:
        raise ConnectionRefusedError(111, "Connection refused")

    internet = Internet(shelf, empty=[])
    with pytest.raises(PhotoError, match="no address"):
        internet.fetch("http://empty.example/")
    with pytest.raises(PhotoError, match="no address"):
        Fetcher(ANYWHERE, 5, nowhere, internet.connect).fetch("http://shop.example/", lambda _size: None)
    with pytest.raises(PhotoError, match="not fetched: Connection refused"):
        Fetcher(ANYWHERE, 5, internet.resolve, refused).fetch("http://shop.example/", lambda _size: None)


def test_a_server_that_never_ends_is_cut_off(shelf: Shelf) -> None:
    silent, speaks = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def drip() -> None:
        connection, _ = silent.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n")
            while not speaks.wait(0.01):
                try:
                    connection.sendall(b"a")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    fetcher = Fetcher(
        ANYWHERE,
        0.2,
        lambda *_: [PUBLIC],
        lambda _a, _p, seconds: socket.create_connection(silent.getsockname(), seconds),
    )
    with pytest.raises(PhotoError, match=r"not fetched within 0\.2 seconds"):
        fetcher.fetch("http://shop.example/1.jpg", lambda _size: None)
    speaks.set()
    thread.join()
    silent.close()


def test_what_takes_the_bytes_may_say_no(shelf: Shelf) -> None:
    shelf.answers["/1.jpg"] = (200, {}, bytes(10**6))
    taken = 0

    def take(size: int) -> None:
        nonlocal taken
        taken += size
        if taken > 100_000:
            raise RequestError("too_large", "enough")

    with pytest.raises(RequestError, match="enough"):
        Fetcher(ANYWHERE, 5, *(getattr(Internet(shelf), name) for name in ("resolve", "connect"))).fetch(
            "http://shop.example/1.jpg", take
        )
    assert taken < 200_000


def test_a_certificate_is_asked_for(shelf: Shelf) -> None:
    shelf.answers["/1.jpg"] = (200, {}, PHOTOS[0])
    with pytest.raises(PhotoError, match="not fetched"):
        Internet(shelf).fetch("https://shop.example/1.jpg")
    assert shelf.asked == []


def test_a_certificate_must_be_the_hosts_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-subj", "/CN=shop.example", "-addext", "subjectAltName=DNS:shop.example"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *names]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for _ in range(2):
            plain, _ = listener.accept()
            with plain, contextlib.suppress(ssl.SSLError, ConnectionError), context.wrap_socket(plain, True) as secure:
                secure.recv(65536)
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nphoto")

    thread = threading.Thread(target=answer)
    thread.start()
    # What the system trusts.
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    patterns = tuple(map(Pattern.parse, ("https://shop.example", "https://cdn.example")))
    fetcher = Fetcher(
        patterns, 5, lambda *_: [PUBLIC], lambda _a, _p, limit: socket.create_connection(listener.getsockname(), limit)
    )
    assert fetcher.fetch("https://shop.example/1.jpg", lambda _size: None) == b"photo"
    with pytest.raises(PhotoError, match="not fetched"):
        fetcher.fetch("https://cdn.example/1.jpg", lambda _size: None)
    thread.join()
    listener.close()


@pytest.mark.parametrize(
    ("pattern", "fits", "others"),
    [
        ("https://cdn.shop.example", ["https://cdn.shop.example/a/b?c", "https://CDN.shop.example:443"],
         ["http://cdn.shop.example/a", "https://shop.example/", "https://cdn.shop.example:444/"]),
        ("https://cdn.shop.example/photos/*", ["https://cdn.shop.example/photos/1.jpg"],
         ["https://cdn.shop.example/", "https://cdn.shop.example/Photos/1.jpg", "https://cdn.shop.example/photos/../a"]),
        ("http://*.shop.example:8080/", ["http://a.shop.example:8080/1", "http://a.b.shop.example:8080/"],
         ["http://shop.example:8080/", "http://a.shop.example/", "http://ashop.example:8080/"]),
        ("http://8.8.8.8/", ["http://8.8.8.8/1"], ["http://8.8.4.4/"]),
        ("http://[2a00::1]/", ["http://[2a00::1]/1"], ["http://[2a00::2]/1"]),
    ],
)  # fmt: skip
def test_patterns(pattern: str, fits: list[str], others: list[str]) -> None:
    parsed = Pattern.parse(pattern)
    found = {url: place(url) for url in (*fits, *others)}
    assert [url for url, where in found.items() if where is not None and parsed.fits(where)] == fits


@pytest.mark.parametrize(
    "pattern",
    ["*", "https://*", "https://*.com", "https://*.*", "shop.example", "ftp://shop.example", "https://a*.example/", "",
     "https://shop.example/?a=*", "https://user@shop.example/", "https://*.shop.*/"],
)  # fmt: skip
def test_a_pattern_that_is_none(pattern: str) -> None:
    with pytest.raises(InputError, match="--allow-urls: expected a pattern such as"):
        Pattern.parse(pattern)


def asked(client: Any, *urls: str) -> Any:
    body = json.dumps({"photos": [{"url": url} for url in urls]}).encode()
    return client.post("/v1/classify", content=body, headers={"Content-Type": "application/json"})


def test_who_fetches_for_nobody_gets_nothing_more() -> None:
    bodies = Bodies(Limits(body=100, held=150))
    with bodies.allowance() as first, bodies.allowance() as second:
        first.take(90)
        with pytest.raises(RequestError, match="larger than 100 bytes"):
            first.take(20)
        with pytest.raises(RequestError, match="too many large requests"):
            second.take(60)
    with pytest.raises(RequestError, match="nobody waits"):
        first.take(1)
    assert bodies.held.now == 0


def test_the_service_fetches_what_is_allowed(shelf: Shelf, tmp_path: Path) -> None:
    shelf.answers |= {"/1.jpg": (200, {}, PHOTOS[0]), "/page": (200, {"Content-Type": "image/jpeg"}, b"<html>")}
    shelf.answers["/large"] = (200, {}, bytes(60_000))
    internet = Internet(shelf, inside=["10.0.0.1"])
    config = ServeConfig(model_file(tmp_path / "model.onnx"), allow_urls=HOSTS, limits=Limits(body=100_000))
    with inside(config, resolve=internet.resolve, connect=internet.connect) as client:
        alone = client.post("/v1/classify", content=PHOTOS[0], headers={"Content-Type": "image/png"}).json()
        (row,) = asked(client, "http://shop.example/1.jpg").json()["predictions"]
        assert row == alone["predictions"][0] | {"image": "http://shop.example/1.jpg"}
        urls = [
            f"http://{where}" for where in ("shop.example/1.jpg", "inside.example/", "shop.example/page", "a.test/")
        ]
        rows = asked(client, *urls).json()["predictions"]
        assert [row["image"] for row in rows] == urls
        assert [bool(row["error"]) for row in rows] == [False, True, True, True]
        for url, kind in zip(urls[1:], ("refused_url", "unreadable", "refused_url"), strict=True):
            answer = asked(client, url)
            assert (answer.status_code, answer.json()["kind"]) == (422, kind)
        answer = asked(client, "http://shop.example/large", "http://shop.example/large")
        assert (answer.status_code, answer.json()["kind"]) == (413, "too_large"), "together they are more than a body"
        assert asked(client, "http://shop.example/1.jpg").status_code == 200
