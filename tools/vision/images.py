"""Decodes untrusted image files into plain pixels.

The format is recognised by content. Size and number of frames are checked from the header, before any pixel is
decoded. The result is pixels only: metadata (EXIF, XMP, text chunks, colour profiles) is dropped after the EXIF
orientation has been applied.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.vision.errors import ImageRefused
from tools.vision.libraries import pillow

Pixels = NDArray[np.uint8]

SIGNATURES = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "WEBP": b"RIFF"}


@dataclass(frozen=True)
class ImageLimits:
    """Limits on an image file."""

    file_bytes: int = 10 * 1024**2
    pixels: int = 25_000_000
    side: int = 10_000  # pixels, longest
    least_side: int = 16  # pixels, shortest
    frames: int = 1


LIMITS = ImageLimits()


@dataclass(frozen=True)
class Picture:
    """A decoded image: ``pixels`` of shape (height, width, 3), RGB, 0 to 255, without any metadata."""

    pixels: Pixels
    format: str

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    def png(self) -> bytes:
        """The pixels as a PNG file without metadata."""
        buffer = io.BytesIO()
        pillow().fromarray(self.pixels).save(buffer, format="PNG")
        return buffer.getvalue()


def load(data: bytes, limits: ImageLimits = LIMITS) -> Picture:
    """Decodes a PNG, JPEG or WebP file. Transparent pixels are laid on white.

    Raises:
        ImageRefused: another format, damaged or truncated data, an animation, or a size outside ``limits``.
        VisionMissing: Pillow is not installed.
    """
    if len(data) > limits.file_bytes:
        raise ImageRefused(f"The file has {len(data):,} bytes; the limit is {limits.file_bytes:,}. Make it smaller.")
    kind = _format_of(data)
    library = pillow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of sizes and metadata that are judged here
        try:
            with library.open(io.BytesIO(data), formats=(kind,)) as image:
                _check(image, limits)
                return Picture(_pixels(_upright(image)), kind)
        except ImageRefused:
            raise
        except Exception as error:  # decoders raise many types on damaged data
            if isinstance(error, library.DecompressionBombError):
                raise ImageRefused(
                    f"The image has more than the allowed {limits.pixels:,} pixels. Scale it down."
                ) from None
            raise ImageRefused(
                f"The {kind} file is damaged or incomplete ({type(error).__name__}). Export it again."
            ) from None


def _format_of(data: bytes) -> str:
    for kind, signature in SIGNATURES.items():
        if data.startswith(signature) and (kind != "WEBP" or data[8:12] == b"WEBP"):
            return kind
    raise ImageRefused("The content is not PNG, JPEG or WebP. Only these formats are read, whatever the file's name.")


def _check(image: Any, limits: ImageLimits) -> None:
    width, height = image.size
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise ImageRefused(
            f"The image has {width} x {height} pixels; the limits are {limits.pixels:,} in all and {limits.side:,} a "
            "side. Scale it down."
        )
    if min(width, height) < limits.least_side:
        raise ImageRefused(f"The image has {width} x {height} pixels; at least {limits.least_side} a side are needed.")
    frames = getattr(image, "n_frames", 1)
    if frames > limits.frames:
        raise ImageRefused(f"The image is an animation of {frames} frames; give one still image.")


def _upright(image: Any) -> Any:
    """Applies the EXIF orientation; an unreadable EXIF block is ignored."""
    image.load()
    try:
        turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(image.getexif().get(0x0112, 1))
    except Exception:  # the block is untrusted metadata, which the pixels do not need
        turn = None
    # Pillow's Transpose: 0 and 1 flip left-right and top-bottom, 2 to 4 rotate by 90 to 270, 5 transpose, 6 transverse
    return image if turn is None else image.transpose(turn)


def _pixels(image: Any) -> Pixels:
    """RGB pixels of shape (height, width, 3)."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        depth = np.asarray(image, dtype=np.float64)
        grey = np.clip(depth / 257.0 if depth.max(initial=0) > 255 else depth, 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        paper = pillow().new("RGBA", image.size, (255, 255, 255, 255))
        paper.alpha_composite(image.convert("RGBA"))
        image = paper
    return np.array(image.convert("RGB"), dtype=np.uint8)
