"""What is sent to break the service gets a clear 4xx, takes no memory, and the next request is answered."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from starlette.testclient import TestClient

from drawn import encoded, picture
from kramar.serving.problems import Problem
from kramar.serving.settings import Limits, ServeConfig
from served import FORM, PHOTOS, document, form, inside, model_file

LIMITS = Limits(body=200_000, photos=4, waiting=8)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    model = model_file(tmp_path_factory.mktemp("model") / "model.onnx")
    with inside(ServeConfig(model, limits=LIMITS)) as client:
        yield client
        answer = client.post("/v1/classify", content=PHOTOS[0], headers={"Content-Type": "image/png"})
        assert answer.status_code == 200, "it lives"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(side: int) -> bytes:
    """A PNG of a few kB that says it is ``side`` x ``side`` pixels."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 100_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG with 100 MB of text in 100 kB."""
    out = io.BytesIO()
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * 1_000_000, zip=True)
    picture(20, 20).save(out, "PNG", pnginfo=info)
    return out.getvalue().replace(zlib.compress(b"a" * 1_000_000), zlib.compress(b"a" * 100_000_000))


def tiff_that_points_to_itself() -> bytes:
    """Its only directory is followed by itself."""
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHII", 256, 4, 1, 9) + struct.pack("<I", 8)


PHOTO = encoded(picture(64, 64), "JPEG")
BAD_PHOTOS = {
    "half a JPEG": PHOTO[: len(PHOTO) // 2],
    "a JPEG's first bytes": PHOTO[:20],
    "a PNG of 50,000 x 50,000": bomb(50_000),
    "a PNG of 2^31 x 2^31": bomb(2**31 - 1),
    "a PNG of no size": bomb(0),
    "a TIFF that points to itself": tiff_that_points_to_itself(),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "EPS, whose reader starts Ghostscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (w) file\n",
    "PDF": b"%PDF-1.4\n1 0 obj << /Type /Catalog >> endobj\n",
    "a zip": b"PK\x03\x04" + bytes(500),
    "a page": b"<!doctype html><script>alert(1)</script>",
    "a page that begins as a GIF": b"GIF89a<script>alert(1)</script>",
    "zeros": bytes(5000),
    "all bytes": bytes(range(256)) * 20,
}


@pytest.mark.parametrize("data", BAD_PHOTOS.values(), ids=BAD_PHOTOS.keys())
def test_a_bad_photo_is_a_clear_4xx_alone_and_a_row_among_others(client: TestClient, data: bytes) -> None:
    for body, kind in ((data, "image/jpeg"), (form(data), FORM), (document(data), "application/json")):
        answer = client.post("/v1/classify", content=body, headers={"Content-Type": kind})
        assert answer.status_code in (413, 422)
        assert Problem.model_validate_json(answer.text).error
    answer = client.post("/v1/classify", content=form(PHOTOS[0], data), headers={"Content-Type": FORM})
    assert [bool(row["error"]) for row in answer.json()["predictions"]] == [False, True]


def test_a_photo_with_something_else_inside_or_behind_is_that_photo(client: TestClient) -> None:
    def label(data: bytes) -> str:
        answer = client.post("/v1/classify", content=data, headers={"Content-Type": "image/png"})
        (row,) = answer.json()["predictions"]
        return str(row["label"])

    page = b"<script>alert(1)</script>"
    assert label(PHOTOS[3] + page + b"PK\x03\x04") == label(PHOTOS[3])
    end = PHOTOS[3].index(b"IDAT") - 4
    assert label(PHOTOS[3][:end] + chunk(b"tEXt", b"Comment\0" + page) + PHOTOS[3][end:]) == label(PHOTOS[3])


def test_a_photo_whose_text_is_a_bomb(client: TestClient) -> None:
    answer = client.post("/v1/classify", content=text_bomb(), headers={"Content-Type": "image/png"})
    assert answer.status_code in (200, 413, 422)


def nested(depth: int) -> bytes:
    return b'{"photos": ' + b"[" * depth + b"]" * depth + b"}"


BODIES: dict[str, tuple[bytes, str, int]] = {
    "JSON that is deep": (nested(90_000), "application/json", 413),
    "JSON that is as deep as its size allows": (nested(120), "application/json", 400),
    "JSON of many small things": (b'{"photos": [' + b"{}," * 50_000 + b"{}]}", "application/json", 413),
    "JSON of many keys": (json.dumps({str(key): 0 for key in range(9000)}).encode(), "application/json", 413),
    "JSON of too many photos": (document(*PHOTOS[:5]), "application/json", 413),
    "JSON with a long number": (b'{"photos": ' + b"9" * 100_000 + b"}", "application/json", 400),
    "JSON with half a letter": (b'{"photos": [{"data": "", "image": "\\ud800"}]}', "application/json", 400),
    "JSON that ends early": (document(PHOTOS[0])[:-9], "application/json", 400),
    "JSON with a NUL": (b'{"photos": [{"data": "\0"}]}', "application/json", 400),
    "a name that is long": (json.dumps({"photos": [{"image": "a" * 5000}]}).encode(), "application/json", 400),
    "10,000 parts": (form(*[b""] * 1500), FORM, 413),
    "too many photos": (form(*PHOTOS[:5]), FORM, 413),
    "a form that ends early": (form(PHOTOS[0])[:-40], FORM, 400),
    "a form without its last boundary": (form(PHOTOS[0])[:-14], FORM, 400),
    "another boundary": (form(PHOTOS[0]), "multipart/form-data; boundary=other", 400),
    "a boundary that is too long": (form(PHOTOS[0]), f"multipart/form-data; boundary={'a' * 71}", 400),
    "a boundary that is empty": (form(PHOTOS[0]), 'multipart/form-data; boundary=""', 400),
    "a part without a name": (b"--cut-here\r\nContent-Type: image/png\r\n\r\nab\r\n--cut-here--", FORM, 400),
    "a part without a header": (b"--cut-here\r\n\r\nab\r\n--cut-here--", FORM, 400),
    "a part with an endless header": (b"--cut-here\r\nA: " + b"b" * 9000 + b"\r\n\r\n\r\n--cut-here--", FORM, 400),
    "a part that is an attachment": (form(PHOTOS[0]).replace(b"form-data;", b"attachment;"), FORM, 400),
    "a boundary with more behind it": (b"--cut-here-and-more\r\n\r\n", FORM, 400),
    "a body that is too large": (bytes(LIMITS.body + 1), "image/png", 413),
    "a form that is too large": (form(bytes(LIMITS.body)), FORM, 413),
}


@pytest.mark.parametrize(("body", "kind", "status"), BODIES.values(), ids=BODIES.keys())
def test_a_hostile_body_is_a_clear_4xx(client: TestClient, body: bytes, kind: str, status: int) -> None:
    answer = client.post("/v1/classify", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert len(Problem.model_validate_json(answer.text).error) < 400


def test_a_form_of_10_000_parts_stops_at_the_first_too_many(tmp_path: Path) -> None:
    with inside(ServeConfig(model_file(tmp_path / "model.onnx"))) as client:
        answer = client.post("/v1/classify", content=form(*[b""] * 10_000), headers={"Content-Type": FORM})
        assert (answer.status_code, answer.json()["kind"]) == (413, "too_large")


def sent_in_chunks(size: int) -> Callable[[], Iterator[bytes]]:
    def chunks() -> Iterator[bytes]:
        for _ in range(size // 1000):
            yield bytes(1000)

    return chunks


def test_a_body_without_a_length_is_counted_as_it_comes(client: TestClient) -> None:
    answer = client.post("/v1/classify", content=sent_in_chunks(10**6)(), headers={"Content-Type": "image/png"})
    assert (answer.status_code, answer.json()["kind"]) == (413, "too_large")


def test_what_was_held_is_given_back(tmp_path: Path) -> None:
    limits = Limits(body=60_000, held=60_000)
    with inside(ServeConfig(model_file(tmp_path / "model.onnx"), limits=limits)) as client:
        for _ in range(5):
            answer = client.post("/v1/classify", content=bytes(60_000), headers={"Content-Type": "image/png"})
            assert answer.status_code == 422


def test_a_body_that_is_allowed_has_room() -> None:
    assert Limits(body=1000).held == 256_000_000
    assert Limits(body=500_000_000).held == 1_000_000_000


def test_many_formats_are_read(client: TestClient) -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        out = io.BytesIO()
        Image.new("RGB", (40, 30), (200, 30, 30)).save(out, kind)
        answer = client.post("/v1/classify", content=out.getvalue(), headers={"Content-Type": "image/any"})
        assert answer.status_code == 200, kind
