from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from tests.tools.vision.drawing import bar_chart, canvas, png
from tools.vision import ImageLimits, ImageRefused, TextReading, VisionMissing, load, read_image
from tools.vision.libraries import _imported
from tools.vision.ocr import _padded


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def picture() -> Image.Image:
    image, pen = canvas((60, 40))
    pen.rectangle((0, 0, 20, 10), fill="#ff0000")
    return image


def header(width: int, height: int) -> bytes:
    """A PNG file that only declares its size."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I4sI", 0, b"IDAT", zlib.crc32(b"IDAT"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_three_formats_are_read(kind: str) -> None:
    found = load(encoded(picture(), kind))
    assert (found.format, found.width, found.height) == (kind, 60, 40)
    assert found.pixels[30, 50].tolist() == pytest.approx([255, 255, 255], abs=3)
    assert found.pixels[3, 5].tolist() == pytest.approx([255, 0, 0], abs=12)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"%PDF-1.7", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", b"<svg xmlns='x'/>",
             b"RIFF\x00\x00\x00\x00WAVE", *(encoded(picture(), kind) for kind in ("BMP", "TIFF", "GIF"))],
)  # fmt: skip
def test_other_content_is_refused_whatever_its_name(data: bytes) -> None:
    with pytest.raises(ImageRefused, match="not PNG, JPEG or WebP"):
        load(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (80, 80, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    with pytest.raises(ImageRefused, match="damaged"):
        load(data[: int(len(data) * share)])


def test_a_declared_size_is_refused_before_decoding() -> None:
    with pytest.raises(ImageRefused, match=r"9000 x 9000 pixels; the limits are 25,000,000"):
        load(header(9000, 9000))
    with pytest.raises(ImageRefused, match=r"more than the allowed 25,000,000 pixels"):
        load(header(100_000, 100_000))


def test_a_small_file_of_many_pixels_is_refused() -> None:
    bomb = encoded(Image.new("L", (9000, 9000)), "PNG", optimize=True)
    assert len(bomb) < 200_000
    with pytest.raises(ImageRefused, match="9000 x 9000"):
        load(bomb)


def test_file_size_and_least_side_are_limited() -> None:
    with pytest.raises(ImageRefused, match="the limit is 100"):
        load(encoded(picture(), "PNG"), ImageLimits(file_bytes=100))
    with pytest.raises(ImageRefused, match="at least 16"):
        load(png(Image.new("RGB", (8, 300))))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    with pytest.raises(ImageRefused, match="3 frames"):
        load(data)


@pytest.mark.parametrize(
    ("orientation", "size", "red"),
    [(1, (60, 40), (3, 5)), (3, (60, 40), (36, 54)), (6, (40, 60), (5, 36)), (8, (40, 60), (54, 3))],
)
def test_the_exif_orientation_is_applied(orientation: int, size: tuple[int, int], red: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = load(encoded(picture(), "JPEG", exif=exif, quality=95))
    assert (found.width, found.height) == size
    assert found.pixels[red].tolist() == pytest.approx([255, 0, 0], abs=12)


def test_metadata_is_dropped() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "secret place")
    found = load(encoded(picture(), "PNG", pnginfo=text))
    with Image.open(io.BytesIO(found.png())) as clean:
        assert clean.info == {}
        assert not clean.getexif()


def test_a_text_chunk_that_inflates_is_refused() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "a" * 80_000_000, zip=True)
    data = encoded(picture(), "PNG", pnginfo=text)
    assert len(data) < 200_000
    with pytest.raises(ImageRefused, match="damaged"):
        load(data)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "I;16", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.new("I;16", (40, 40), 65_535) if mode == "I;16" else picture().convert(mode)
    found = load(encoded(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert found.pixels.shape[2] == 3
    assert found.pixels[-1, -1].tolist() == pytest.approx([255, 255, 255], abs=3)


def test_transparent_pixels_are_white() -> None:
    assert load(png(Image.new("RGBA", (20, 20), (0, 0, 0, 0)))).pixels[5, 5].tolist() == [255, 255, 255]


@given(place=st.integers(8, 2000), byte=st.integers(0, 255), kind=st.sampled_from(["PNG", "JPEG", "WEBP"]))
@settings(deadline=None, max_examples=150)
def test_a_damaged_byte_is_read_or_refused(place: int, byte: int, kind: str) -> None:
    data = bytearray(encoded(picture(), kind))
    data[place % (len(data) - 12) + 12] = byte
    try:
        found = load(bytes(data))
    except ImageRefused:
        return
    assert found.pixels.dtype == np.uint8


def test_large_images_are_scaled_and_positions_are_not() -> None:
    with Image.open(io.BytesIO(bar_chart([(35, 81, 12, 57)], ("Oslo", "Lima", "Rome", "Kyiv")))) as image:
        data = png(image.resize((3600, 2400), Image.Resampling.LANCZOS))
    point = read_image(data).series[0].points[1]  # type: ignore[union-attr]
    assert point.y == pytest.approx(81, abs=1)
    assert point.pixel == (pytest.approx(1560, abs=10), pytest.approx(6 * (340 - 0.81 * 280), abs=10))


def test_a_missing_library_is_named_with_the_command() -> None:
    with pytest.raises(VisionMissing, match=r"needs rapidocr.*pip install -e"):
        _imported("no_such_module_of_vision", "rapidocr")


@pytest.mark.parametrize("size", [(9000, 16), (16, 9000), (17, 17), (600, 400)])
def test_a_strip_is_padded_before_it_is_enlarged(size: tuple[int, int]) -> None:
    wide, tall = _padded(np.zeros((size[1], size[0], 3), dtype=np.uint8)).shape[1::-1]
    assert max(wide, tall) <= 3 * min(wide, tall)
    assert (wide, tall) == size or max(wide, tall) == max(size)


def test_a_strip_is_read() -> None:
    assert read_image(png(Image.new("RGB", (16, 9000), "white"))) == TextReading(())
