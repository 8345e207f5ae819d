"""Frames between worker and tool host: four bytes of length, big-endian, then that much JSON in UTF-8."""

from __future__ import annotations

import asyncio
import json
import re
import struct
from typing import Any, BinaryIO

HEADER = struct.Struct(">I")
HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half of a pair of UTF-16 may stand alone in JSON; text that holds one can't be written as UTF-8."""


class FrameError(Exception):
    """The other side sent what is no frame, or one over the limit."""


def encode(message: dict[str, Any]) -> bytes:
    body = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    return HEADER.pack(len(body)) + body


def read(pipe: BinaryIO) -> dict[str, Any] | None:
    """The next frame, or None at the end of the pipe. For the host, which trusts the worker: without a limit."""
    head = pipe.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    return _decode(pipe.read(HEADER.unpack(head)[0]))


def decode(data: bytes) -> dict[str, Any]:
    """The first frame of what was read. Raises FrameError: there is none."""
    if len(data) < HEADER.size:
        raise FrameError("the pipe ended")
    (length,) = HEADER.unpack_from(data)
    return _decode(data[HEADER.size : HEADER.size + length])


async def receive(reader: asyncio.StreamReader, limit: int) -> dict[str, Any]:
    """The next frame of at most ``limit`` bytes.

    Raises:
        FrameError: it is longer, or no JSON object.
        EOFError: the pipe ended.
    """
    try:
        (length,) = HEADER.unpack(await reader.readexactly(HEADER.size))
        if length > limit:
            raise FrameError(f"a frame of {length} bytes; at most {limit} are taken")
        return _decode(await reader.readexactly(length))
    except asyncio.IncompleteReadError as error:
        raise EOFError("the pipe ended") from error


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _decode(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body.decode(), parse_constant=_no_number)  # of bytes json takes halves of characters too
        if HALF_CHARACTER.search(body):
            json.dumps(message, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise FrameError(f"a JSON object was expected, not {type(message).__name__}")
    return message
