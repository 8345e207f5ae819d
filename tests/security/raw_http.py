"""Connections on which a test sends bytes as they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Raw:
    """A connection that sends bytes as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def flood(self, piece: bytes, most: int) -> int:
        """Bytes that went out before the server would have no more."""
        sent = 0
        try:
            while sent < most and not self._writer.is_closing():
                await self.send(piece)
                sent += len(piece)
        except ConnectionError:
            return sent
        return sent

    async def answer(self) -> tuple[int, dict[str, Any]]:
        status = int((await self.reader.readline()).split()[1])
        length = 0
        while line := (await self.reader.readline()).strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return status, json.loads(await self.reader.readexactly(length))

    async def closed(self) -> None:
        """Returns when the server has closed it."""
        try:
            await self.reader.read()
        except ConnectionError:
            return


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Raw]:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(30):
            yield Raw(reader, writer)
    finally:
        writer.transport.abort()


async def asked(url: str, head: bytes) -> tuple[int, dict[str, Any]]:
    async with connected(url) as raw:
        await raw.send(head)
        return await raw.answer()
