"""Text that a worker forwards to the API while the API is slow."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from agent.serve.worker import ApiDeltas
from flightloop.events import DeltaEvent


class SlowApi:
    """A handle whose first call waits until ``ready`` is set."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.calls: asyncio.Queue[list[str]] = asyncio.Queue()

    @property
    def publish(self) -> SlowApi:
        return self

    async def remote(self, batch: list[DeltaEvent]) -> None:
        self.calls.put_nowait([delta.text for delta in batch])
        await self.ready.wait()


async def test_the_oldest_text_is_dropped_while_the_api_is_slow() -> None:
    api: Any = SlowApi()
    deltas = ApiDeltas(api, backlog=3)

    def publish(*texts: str) -> None:
        for text in texts:
            deltas.publish(DeltaEvent(run_id="run_1", text=text, at=datetime.now(UTC)))

    publish("a", "b")
    assert await api.calls.get() == ["a", "b"]
    publish("c", "d", "e", "f")
    api.ready.set()
    assert await api.calls.get() == ["d", "e", "f"]
