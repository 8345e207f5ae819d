"""Frames between worker and tool host: a length of four bytes, big-endian, then JSON of that length in UTF-8."""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import asyncio  # only the worker has an event loop: a tool host starts sooner without

HEADER = struct.Struct(">I")
HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")
"""Escape of a surrogate. JSON permits unpaired ones, which can't be encoded in UTF-8."""


class FrameError(Exception):
    """The other side sent an invalid frame, or one above the limit."""


def encode(message: dict[str, Any]) -> bytes:
    body = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    return HEADER.pack(len(body)) + body


def read(pipe: BinaryIO) -> dict[str, Any] | None:
    """The next frame, or None at the end of the pipe. Has no size limit, since the host trusts the worker."""
    head = pipe.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    return _decode(pipe.read(HEADER.unpack(head)[0]))


def decode(data: bytes) -> dict[str, Any]:
    """The first frame of the data. Raises FrameError if there is none."""
    if len(data) < HEADER.size:
        raise FrameError("the pipe ended")
    (length,) = HEADER.unpack_from(data)
    return _decode(data[HEADER.size : HEADER.size + length])


async def receive(reader: asyncio.StreamReader, limit: int) -> dict[str, Any]:
    """Reads the next frame of at most ``limit`` bytes.

    Raises:
        FrameError: the frame is longer, or isn't a JSON object.
        EOFError: the pipe ended.
    """
    try:
        (length,) = HEADER.unpack(await reader.readexactly(HEADER.size))
        if length > limit:
            raise FrameError(f"a frame of {length} bytes exceeds the limit of {limit}")
        return _decode(await reader.readexactly(length))
    except EOFError as error:  # asyncio.IncompleteReadError
        raise EOFError("the pipe ended") from error


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _decode(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body.decode(), parse_constant=_no_number)  # for bytes, json would accept surrogate halves
        if HALF_CHARACTER.search(body):
            json.dumps(message, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise FrameError(f"expected a JSON object, not {type(message).__name__}")
    return message
