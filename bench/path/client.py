"""A client that requests and reads answers in a process of its own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import httpx

from bench.beside import beside
from bench.errors import BenchError

TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Heard:
    """A streamed answer: times in seconds of a clock common to all processes, and tokens as counted by the server.

    ``waited``: seconds from the request's arrival in the engine to its first token, as reported by the engine.
    """

    asked: float  # when the request was sent
    first: float  # when the first text arrived
    last: float  # when the last text arrived
    tokens: int
    pieces: int  # chunks with text
    waited: float | None


class Client:
    """Sends requests to a server. Each call streams the answers to all requests at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ask(self, url: str, key: str, bodies: Sequence[dict[str, Any]]) -> list[Heard]:
        """Streams the answers. Raises BenchError if one failed."""
        self._connection.send((url, key, list(bodies)))
        answer = self._connection.recv()
        if isinstance(answer, str):
            raise BenchError(answer)
        return [Heard(*fields) for fields in answer]


@contextmanager
def client() -> Iterator[Client]:
    with beside(_serve) as connection:
        yield Client(connection)


def _serve(connection: Connection) -> None:
    while True:
        try:
            order = connection.recv()
        except EOFError:
            return
        try:
            connection.send(asyncio.run(_all(*order)))
        except (httpx.HTTPError, BenchError) as error:
            connection.send(f"{type(error).__name__}: {error}")


async def _all(url: str, key: str, bodies: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S) as http:
        return await asyncio.gather(*(_one(http, body) for body in bodies))


async def _one(http: httpx.AsyncClient, body: dict[str, Any]) -> tuple[Any, ...]:
    wanted = {**body, "stream": True, "stream_options": {"include_usage": True}}
    asked, arrivals, tail = time.perf_counter(), [], b""
    async with http.stream("POST", "/v1/chat/completions", json=wanted) as response:
        if response.status_code != 200:
            raise BenchError(f"{response.status_code}: {(await response.aread())[:300]!r}")
        async for piece in response.aiter_bytes():
            if b'"content":"' in piece.replace(b'"content":""', b""):
                arrivals.append(time.perf_counter())
            tail = (tail + piece)[-8192:]  # reading all of it would delay the server
    lines = [line for line in tail.splitlines() if line.startswith(b"data: {") and line.endswith(b"}")]
    documents = [json.loads(line.removeprefix(b"data: ")) for line in lines]
    usage = next((found["usage"] for found in reversed(documents) if found.get("usage")), None)
    if usage is None or not arrivals:
        raise BenchError(f"the answer ended with {tail[-300:]!r}")
    told: dict[str, Any] = next((found["flightloop"] for found in documents if found.get("flightloop")), {})
    return (asked, arrivals[0], arrivals[-1], usage["completion_tokens"], len(arrivals), told.get("ttft_seconds"))
