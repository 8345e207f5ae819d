"""Calls an ASGI application with a complete request and streams its response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

from starlette.types import ASGIApp, Message, Scope

from agent.api.completions.cancellation import ended

PIECE = 256 * 1024
"""Maximum bytes of bodies per batch of messages, because copying a batch blocks the event loop."""


async def answers(app: ASGIApp, scope: Scope, body: bytes) -> AsyncGenerator[list[Message], None]:
    """Yields the messages of a response in batches of those available at the same time.

    Closing the generator, or cancelling its consumer, cancels the application like a disconnected client.
    """
    said: asyncio.Queue[Message | None] = asyncio.Queue()
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            await asyncio.Event().wait()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def run() -> None:
        try:
            await app({**scope, "asgi": {"version": "3.0"}}, receive, said.put)
        finally:
            said.put_nowait(None)

    task = asyncio.create_task(run())
    try:
        over = False
        while not over:
            messages = [await said.get()]
            while not said.empty():
                messages.append(said.get_nowait())
            over = messages[-1] is None
            for present in _small([message for message in messages if message is not None]):
                yield present
        await task
    finally:
        await asyncio.shield(ended(task))


def _small(messages: list[Message]) -> Iterator[list[Message]]:
    """Groups messages so that bodies have at most PIECE bytes per group; splits longer bodies."""
    group: list[Message] = []
    size = 0
    for message in messages:
        for piece in _pieces(message):
            length = len(piece.get("body", b""))
            if group and size + length > PIECE:
                yield group
                group, size = [], 0
            group.append(piece)
            size += length
    if group:
        yield group


def _pieces(message: Message) -> Iterator[Message]:
    body = message.get("body", b"")
    last = max(0, len(body) - 1) // PIECE * PIECE
    for start in range(0, last, PIECE):
        yield {**message, "body": body[start : start + PIECE], "more_body": True}
    yield {**message, "body": body[last:]} if last else message
