"""Makes content parts from the files that a visitor uploads with a message."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Protocol

from pydantic import ValidationError

from flightloop.content import ImagePart, Part, TablePart, TextPart
from flightloop.errors import InvalidRequest
from flightloop.limits import IMAGES
from flightloop.parts import MOST_BYTES, SIGNATURES, image_part, table_part

TYPES = ("png", "jpg", "jpeg", "webp", "csv")
MEGABYTES = MOST_BYTES // 1024**2
"""Size of one file."""
LIMITS = (
    f"You can attach PNG, JPEG and WebP images, at most {IMAGES}, and CSV tables. A file has at most {MEGABYTES} MiB, "
    "and a message some 3 MiB in all where the platform's administrator has not raised FLIGHTLOOP_MAX_BODY_BYTES."
)
QUESTION = "What is to be seen? Describe it."
"""Text of a message that has files only."""


class File(Protocol):
    """An uploaded file, as Streamlit has it."""

    name: str

    def getvalue(self) -> bytes: ...


def content_of(text: str, files: Sequence[File]) -> list[Part]:
    """A message's parts: its text, and an image or a table for each file.

    Raises:
        InvalidRequest: a file is too large, or neither an image nor a CSV table, or there are too many images.
    """
    parts: list[Part] = [TextPart(text=text if text.strip() else QUESTION), *map(_part, files)]
    images = sum(isinstance(part, ImagePart) for part in parts)
    if images > IMAGES:
        raise InvalidRequest(f"{images} images exceed the limit of {IMAGES}: send them in several messages")
    return parts


def _part(file: File) -> ImagePart | TablePart:
    data, name = file.getvalue(), PurePath(file.name).name
    if len(data) > MOST_BYTES:
        raise InvalidRequest(f"{name} has {len(data):,} bytes; the limit is {MOST_BYTES:,}")
    if data.startswith(tuple(SIGNATURES)):
        return image_part(data)
    if not name.lower().endswith(".csv"):
        raise InvalidRequest(f"{name}: the content is not PNG, JPEG or WebP")
    return _table(data, name)


def _table(data: bytes, name: str) -> TablePart:
    try:
        # With an end of line, the text is never taken for the path of a file on the console's computer.
        return table_part(data.decode("utf-8-sig") + "\n")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name} is not UTF-8 text: save it as CSV in UTF-8") from None
    except ValidationError as error:
        raise InvalidRequest(f"{name}: {error.errors()[0]['msg']}") from None
    except InvalidRequest as error:
        raise InvalidRequest(f"{name}: {error.message}") from None
