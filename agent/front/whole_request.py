"""An ASGI application asked with a request that is there as a whole, and its answer as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from starlette.types import ASGIApp, Message, Scope

from agent.api.racing import ended


async def answers(app: ASGIApp, scope: Scope, body: bytes) -> AsyncGenerator[list[Message], None]:
    """The messages of an answer; those that are there at the same time come together.

    Closing it, or cancelling whoever waits for it, cancels the application: the client has gone away.
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
            if present := [message for message in messages if message is not None]:
                yield present
        await task
    finally:
        await asyncio.shield(ended(task))
