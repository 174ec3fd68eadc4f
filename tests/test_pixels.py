import gc
import io
import itertools
import math
import resource
import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from drawn import encoded, picture, pixels
from kramar.data.listing import PhotoFile
from kramar.data.pixels import MAX_PIXELS, as_image, decode, in_order, prepare, square, thumbnail, to_rgb
from kramar.errors import PhotoError
from kramar.records import ResizeRule

RULE = ResizeRule(size=32, crop=0.875, filter="bicubic")
UPRIGHT = pixels(60, 40, seed=3)

# Where row 0 and column 0 of the stored picture are in the upright one (EXIF 2.3, tag 274).
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: UPRIGHT.transpose(1, 0, 2)[::-1],
    7: UPRIGHT.transpose(1, 0, 2)[::-1, ::-1],
    8: UPRIGHT.transpose(1, 0, 2)[:, ::-1],
}


def decoded(data: bytes) -> npt.NDArray[np.int64]:
    image = decode(data, 4000)
    assert image.mode == "RGB"
    return np.asarray(image).astype(np.int64)


def difference(found: Any, expected: Any) -> float:
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    assert found.shape == expected.shape
    return float(np.abs(found - expected).mean())


def png(width: int, height: int, bits: int = 1, rows: int | None = None) -> bytes:
    """A grey PNG built by hand: zeros, ``rows`` of them really there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" * (1 + math.ceil(width * bits / 8))
    body = zlib.compress(row * (height if rows is None else rows), 1)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


# Orientation


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_gives_the_same_upright_picture(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    known: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}
    stored = encoded(Image.fromarray(np.ascontiguousarray(STORED[orientation])), kind, exif=exif, **known.get(kind, {}))
    assert difference(decoded(stored), UPRIGHT) <= (2.0 if kind == "JPEG" else 0.0)


def test_an_orientation_that_exif_does_not_know_changes_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    assert difference(decoded(encoded(picture(60, 40, 3), "PNG", exif=exif)), UPRIGHT) == 0


# EXIF blocks as cameras and editors break them: no TIFF, half of one, one that can be read but not written anew.
NO_TIFF = b"Exif\0\0apples and pears"
CUT = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0"


def unwritable(orientation: int) -> bytes:
    """An EXIF block whose orientation is whole, and whose unit of resolution is a number that is none, -1."""
    tags = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + struct.pack("<HHIi", 0x0128, 9, 1, -1)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + tags + b"\0\0\0\0"


LOSSLESS: dict[str, dict[str, Any]] = {
    "WEBP": {"lossless": True},
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
}


# Pillow warns of a block that is cut off; nothing is said to a user whose photo is whole.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("block", [NO_TIFF, CUT, b"Exif\0\0"], ids=["no TIFF", "cut", "empty"])
@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_broken_exif_block_costs_no_photo(kind: str, block: bytes) -> None:
    found = decoded(encoded(picture(60, 40, 3), kind, exif=block, **LOSSLESS[kind]))
    assert difference(found, UPRIGHT) <= (2.0 if kind == "JPEG" else 0.0)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_an_orientation_counts_whatever_else_of_the_block_is_broken(kind: str) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED[6]))
    data = encoded(stored, kind, exif=unwritable(6), **LOSSLESS[kind])
    with Image.open(io.BytesIO(data)) as image, pytest.raises(struct.error):
        ImageOps.exif_transpose(image)
    assert difference(decoded(data), UPRIGHT) <= (2.0 if kind == "JPEG" else 0.0)
    with Image.open(io.BytesIO(data)) as image:
        assert difference(as_image(image), UPRIGHT) <= (2.0 if kind == "JPEG" else 0.0)
        assert image.size == (40, 60), "the caller's image stays as it is"


def test_a_broken_exif_block_saves_no_broken_photo() -> None:
    whole = encoded(picture(200, 150), "PNG", exif=NO_TIFF)
    with pytest.raises(PhotoError) as raised:
        decode(whole[: len(whole) // 2], 32)
    assert raised.value.kind == "unreadable"


def test_a_turned_pillow_image_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = encoded(Image.fromarray(np.ascontiguousarray(STORED[6])), "PNG", exif=exif)
    with Image.open(io.BytesIO(stored)) as image:
        assert difference(as_image(image), UPRIGHT) == 0


# Modes


def test_a_cmyk_jpeg_is_close_to_its_rgb() -> None:
    cmyk = encoded(picture(64, 48, 1).convert("CMYK"), "JPEG", quality=95)
    with Image.open(io.BytesIO(cmyk)) as image:
        assert image.mode == "CMYK"
    assert difference(decoded(cmyk), pixels(64, 48, 1)) < 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_to_8(kind: str) -> None:
    values = np.array([[0, 128, 129, 257 * 100, 32896, 65535]] * 4, dtype=np.uint16)
    found = decoded(encoded(Image.fromarray(values), kind))
    assert found[0].tolist() == [[v] * 3 for v in (0, 0, 1, 100, 128, 255)]


def test_big_endian_16_bit_tiff() -> None:
    values = np.array([257 * 7, 257 * 200], dtype=">u2")
    tags = [
        (256, 3, 1, 2 << 16),
        (257, 3, 1, 1 << 16),
        (258, 3, 1, 16 << 16),
        (259, 3, 1, 1 << 16),
        (262, 3, 1, 1 << 16),
        (273, 4, 1, 8),
        (277, 3, 1, 1 << 16),
        (278, 3, 1, 1 << 16),
        (279, 4, 1, 4),
    ]
    directory = struct.pack(">H", len(tags)) + b"".join(struct.pack(">HHII", *tag) for tag in tags) + b"\0" * 4
    tiff = b"MM\0\x2a" + struct.pack(">I", 12) + values.tobytes() + directory
    assert decoded(tiff)[0, :, 0].tolist() == [7, 200]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 128.0, 254.6], [0, 128, 255]),
        ([-3.0, 12.0, 900.0], [0, 12, 255]),
        ([math.nan, 0.5, 1.0], [0, 128, 255]),
        ([math.inf, 0.5, 1.0], [255, 1, 1]),
        ([-math.inf, 0.5, 1.0], [0, 128, 255]),
        ([math.nan, math.nan, math.nan], [0, 0, 0]),
    ],
)
def test_float_tiff(values: list[float], expected: list[int]) -> None:
    tiff = encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")
    assert decoded(tiff)[0, :, 0].tolist() == expected


@pytest.mark.parametrize(("values", "expected"), [([0, 7, 255], [0, 7, 255]), ([0, 257 * 7, 65535], [0, 7, 255])])
def test_32_bit_grey_is_8_or_16_bits_by_its_values(values: list[int], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.int32))
    assert image.mode == "I"
    assert np.asarray(to_rgb(image))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr", "HSV", "LAB", "CMYK", "RGBX"])
def test_every_opaque_mode_becomes_rgb(mode: str) -> None:
    source = picture(20, 10)
    image = to_rgb(source.convert("RGB").convert(mode) if mode != "LAB" else Image.new("LAB", (20, 10)))
    assert (image.mode, image.size) == ("RGB", (20, 10))


def test_a_palette_without_transparency_keeps_its_colours() -> None:
    image = Image.new("P", (4, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((3, 1), 1)
    found = decoded(encoded(image, "PNG"))
    assert found[0, 0].tolist() == [10, 20, 30]
    assert found[1, 3].tolist() == [200, 100, 50]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_a_transparent_palette_colour_is_white(transparency: int | bytes) -> None:
    image = Image.new("P", (4, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((3, 1), 1)
    found = decoded(encoded(image, "PNG", transparency=transparency))
    assert found[0, 0].tolist() == [10, 20, 30]
    assert found[1, 3].tolist() == [255, 255, 255]


def test_a_half_transparent_palette_colour_is_half_white() -> None:
    image = Image.new("P", (1, 1))
    image.putpalette([0, 100, 200])
    found = decoded(encoded(image, "PNG", transparency=b"\x80"))
    assert np.abs(found[0, 0] - [127, 177, 227]).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_cut_outs_are_composited_on_white(kind: str) -> None:
    cutout = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((0, 128, 255)):
        cutout.putpixel((x, 0), (0, 100, 200, alpha))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = decoded(encoded(cutout, kind, **options))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert np.abs(found[0, 1] - [127, 177, 227]).max() <= 1
    assert found[0, 2].tolist() == [0, 100, 200]


@pytest.mark.parametrize("mode", ["LA", "RGBa", "PA"])
def test_other_transparent_modes_are_composited_on_white(mode: str) -> None:
    source = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    source.putpixel((1, 0), (0, 0, 0, 255))
    image = {
        "LA": lambda: source.convert("LA"),
        "RGBa": lambda: source.convert("RGBa"),
        "PA": lambda: source.convert("RGB").convert("P").convert("PA"),
    }[mode]()
    assert image.mode == mode
    if mode == "PA":
        image.putalpha(source.getchannel("A"))
    assert np.asarray(to_rgb(image))[0, :, 0].tolist() == [255, 0]


def test_the_transparent_colour_of_an_opaque_png_is_white() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (50, 60, 70))
    assert decoded(encoded(image, "PNG", transparency=(1, 2, 3)))[0].tolist() == [[255] * 3, [50, 60, 70]]
    grey = Image.new("L", (2, 1), 9)
    grey.putpixel((1, 0), 80)
    assert decoded(encoded(grey, "PNG", transparency=9))[0, :, 0].tolist() == [255, 80]


# Formats


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert decoded(data)[2, 3].tolist() == [255, 0, 0], kind


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 90}, 4),
        ("JPEG", {"quality": 95}, 2),
        ("JPEG", {"quality": 95, "progressive": True}, 2),
        ("GIF", {}, 12),
        ("AVIF", {"quality": 95}, 3),
    ],
)
def test_every_format_gives_the_picture(kind: str, options: dict[str, Any], tolerance: float) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip("Pillow was built without it")
    assert difference(decoded(encoded(picture(60, 40, 3), kind, **options)), UPRIGHT) <= tolerance


# Broken and extreme photos


@pytest.mark.parametrize("data", [b"", b"apples and pears", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0"])
def test_what_is_no_photo_is_unreadable(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(PhotoError) as raised:
        prepare(PhotoFile(path).read(), RULE)
    assert raised.value.kind == "unreadable"
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_truncated_photo_is_unreadable(kind: str) -> None:
    whole = encoded(picture(200, 150), kind)
    for share in (0.02, 0.3, 0.6, 0.9):
        with pytest.raises(PhotoError) as raised:
            decode(whole[: int(len(whole) * share)], 32)
        assert raised.value.kind == "unreadable"


def test_a_huge_photo_of_a_few_kilobytes_is_refused_without_being_decoded() -> None:
    bomb = png(50_000, 50_000, bits=8, rows=200)
    assert len(bomb) < 50_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        with pytest.raises(PhotoError, match="shrink it first") as raised:
            prepare(bomb, RULE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert raised.value.kind == "too_large"
    assert peak < 1 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10  # kB


def test_a_photo_just_over_the_limit_is_too_large() -> None:
    with pytest.raises(PhotoError) as raised:
        decode(png(MAX_PIXELS // 1000 + 1, 1000, rows=10), 32)
    assert raised.value.kind == "too_large"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 3000), (3000, 1), (2, 2), (31, 33)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_tiny_and_thin_photos_become_squares(kind: str, width: int, height: int) -> None:
    image = Image.new("RGB", (width, height), (200, 100, 50))
    found = prepare(encoded(image, kind, quality=95), RULE)
    assert found.shape == (32, 32, 3)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - [200, 100, 50]).max() <= 4


# Geometry


@pytest.mark.parametrize(("width", "height"), [(256, 128), (128, 256), (256, 256), (200, 133)])
@pytest.mark.parametrize("crop", [0.875, 1.0])
def test_the_centre_square_is_where_the_rule_says(width: int, height: int, crop: float) -> None:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    image = Image.fromarray(np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8))
    rule = ResizeRule(size=32, crop=crop, filter="bicubic")
    side = crop * min(width, height)
    steps = (np.arange(32) + 0.5) * side / 32 - 0.5
    found = square(image, rule).astype(float)
    # The outermost pixels see a replicated border where the square touches the photo's edge.
    inner = slice(1, -1)
    assert np.abs(found[16, inner, 0] - ((width - side) / 2 + steps)[inner]).max() <= 1
    assert np.abs(found[inner, 16, 1] - ((height - side) / 2 + steps)[inner]).max() <= 1


def test_a_large_jpeg_decoded_at_a_reduced_size_is_close_to_the_full_decode() -> None:
    image = picture(1800, 1200, 5)
    data = encoded(image, "JPEG", quality=92)
    rule = ResizeRule(size=224, crop=0.875, filter="bicubic")
    reduced = decode(data, 256)
    assert 256 <= min(reduced.size) < 1200
    assert difference(square(reduced, rule), square(image, rule)) < 1.5
    assert difference(prepare(data, rule), square(image, rule)) < 1.5


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 500), st.integers(1, 500), st.integers(8, 64))
def test_no_jpeg_is_decoded_below_the_short_side_asked_for(width: int, height: int, short_side: int) -> None:
    found = decode(encoded(Image.new("RGB", (width, height)), "JPEG"), short_side)
    assert min(found.size) >= min(short_side, width, height)
    assert max(found.size) <= max(width, height)
    assert found.width / found.height == pytest.approx(width / height, rel=0.15) or min(found.size) < short_side


def test_a_thumbnail_is_a_small_jpeg() -> None:
    data = thumbnail(encoded(picture(600, 300), "PNG"), 160)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("JPEG", (160, 80))
    with pytest.raises(PhotoError):
        thumbnail(b"apples", 160)


# Arrays and images


def test_arrays_and_images_are_photos_too() -> None:
    colour = pixels(20, 10)
    assert difference(as_image(colour), colour) == 0
    assert difference(as_image(colour[:, :, 0]), np.repeat(colour[:, :, :1], 3, axis=2)) == 0
    assert difference(as_image(Image.fromarray(colour).convert("RGBA")), colour) == 0


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 7), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0), np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_other_arrays_are_refused(array: npt.NDArray[np.generic]) -> None:
    with pytest.raises(PhotoError, match="expected a uint8 array") as raised:
        as_image(array)
    assert raised.value.kind == "unreadable"


def test_a_mode_that_pillow_cannot_convert_is_unreadable() -> None:
    with pytest.raises(PhotoError, match="broken"):
        as_image(Image.new("LA", (2, 2)).convert("La"))


def test_a_truncated_pillow_image_is_unreadable() -> None:
    whole = encoded(picture(200, 150), "PNG")
    with Image.open(io.BytesIO(whole[: len(whole) // 2])) as image, pytest.raises(PhotoError):
        as_image(image)


# In order


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.01 if item % 3 == 0 else 0)
        return item * item

    assert list(in_order(slow_first, range(60), threads=4, ahead=8)) == [n * n for n in range(60)]
    assert list(in_order(slow_first, [], threads=4, ahead=8)) == []
    assert list(in_order(slow_first, [2], threads=1, ahead=1)) == [4]


def test_work_runs_on_several_threads() -> None:
    meeting = threading.Barrier(3, timeout=10)

    def meet(item: int) -> int:
        meeting.wait()
        return item

    assert list(in_order(meet, range(6), threads=3, ahead=3)) == list(range(6))


def test_an_endless_input_is_read_only_a_little_ahead() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        for item in itertools.count():
            taken += 1
            yield item

    results = in_order(lambda item: item, endless(), threads=2, ahead=7)
    for number in range(50):
        assert next(results) == number
        assert taken <= number + 7
    results.close()  # type: ignore[attr-defined]


def decoders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("kramar-decode")]


@pytest.mark.parametrize("closed_by", ["exhaustion", "close", "garbage", "exception"])
def test_threads_end_with_the_results(closed_by: str) -> None:
    def work(item: int) -> int:
        if closed_by == "exception" and item == 5:
            raise ValueError("five")
        return item

    results = in_order(work, range(20), threads=3, ahead=6)
    next(results)
    assert decoders()
    if closed_by == "exhaustion":
        list(results)
    elif closed_by == "close":
        results.close()  # type: ignore[attr-defined]
    elif closed_by == "exception":
        with pytest.raises(ValueError, match="five"):
            list(results)
    del results
    gc.collect()
    assert decoders() == []


def test_results_before_an_exception_are_not_lost() -> None:
    def work(item: int) -> int:
        if item == 4:
            raise KeyError("four")
        return item

    results = in_order(work, range(20), threads=3, ahead=6)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(KeyError, match="four"):
        next(results)


def test_an_exception_of_the_input_propagates() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        list(in_order(lambda item: item, broken(), threads=2, ahead=4))
    assert decoders() == []


# Fuzz

WHOLE = {
    "JPEG": encoded(picture(48, 40), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"),
    "PROGRESSIVE": encoded(picture(48, 40), "JPEG", progressive=True),
    "PNG": encoded(picture(48, 40).convert("RGBA"), "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
    "PALETTE": encoded(picture(48, 40).convert("P"), "PNG", transparency=3),
    "WEBP": encoded(picture(48, 40), "WEBP"),
    "TIFF": encoded(picture(48, 40), "TIFF", compression="tiff_lzw"),
    "DEEP": encoded(Image.fromarray(pixels(48, 40)[:, :, 0].astype(np.float32)), "TIFF"),
    "GIF": encoded(picture(48, 40), "GIF"),
    "BMP": encoded(picture(48, 40), "BMP"),
    "AVIF": encoded(picture(48, 40), "AVIF"),
}


def test_an_avif_without_its_picture_is_a_photo_error() -> None:
    whole = WHOLE["AVIF"]
    start = whole.index(b"mdat") + 4
    with pytest.raises(PhotoError) as error:
        prepare(whole[:start] + bytes(len(whole) - start), RULE)
    assert error.value.kind == "unreadable"


# Pillow warns of odd metadata, which a user sees on standard error and which must not stop a run.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_corrupted_photos_raise_nothing_but_photo_error(kind: str, data: st.DataObject) -> None:
    whole = WHOLE[kind]
    # Most of what a parser can trip over is in the first bytes.
    places = st.one_of(st.integers(0, min(300, len(whole) - 1)), st.integers(0, len(whole) - 1))
    changes = data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6))
    broken = bytearray(whole)
    for place, byte in changes:
        broken[place] = byte
    cut = data.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    found: object = None
    try:
        found = prepare(bytes(broken[:cut]), RULE).shape
    except PhotoError as error:
        found = error.kind
    assert found in ("unreadable", "too_large", (32, 32, 3))
