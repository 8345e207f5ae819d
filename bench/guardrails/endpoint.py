"""A moderation endpoint in a process of its own: the guard's classifier behind OpenAI's ``/v1/moderations``."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from fastapi import FastAPI

from agent.serve.http_server import bind, running
from bench.errors import BenchError
from guardrails.rails.content import DEFAULT_WEIGHTS, load_content_model

PATH = "/v1/moderations"
START_S = 60


@contextmanager
def endpoint() -> Iterator[str]:
    """Serves while the context is open; yields the URL. Raises BenchError if the process does not start."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        if not ours.poll(START_S):
            raise BenchError(f"the moderation endpoint did not start within {START_S} seconds")
        yield f"{ours.recv()}{PATH}"
    finally:
        process.terminate()
        process.join()


def _serve(told: Connection) -> None:
    asyncio.run(_served(told))


async def _served(told: Connection) -> None:
    app, model = FastAPI(), load_content_model(DEFAULT_WEIGHTS)

    @app.post(PATH)
    async def moderations(body: dict[str, Any]) -> dict[str, Any]:
        return {"results": [{"flagged": False, "category_scores": model.scores(str(body["input"]))}]}

    with bind("127.0.0.1", 0) as socket:
        async with running(app, socket) as url:
            told.send(url)
            await asyncio.Event().wait()
