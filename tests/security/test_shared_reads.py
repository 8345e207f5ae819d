from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import pytest

from agent.api import create_app
from agent.reporting.shared_reads import SharedReads
from agent.testing.api import KEY, api_deps


class Source:
    """Counts reads; each waits until it is let go."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.at_once = 0
        self.began, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, name: str) -> int:
        self.read.append(name)
        self.at_once += 1
        self.began.set()
        assert self.at_once == 1
        await self.go.wait()
        self.at_once -= 1
        if name == "broken":
            raise LookupError(name)
        return len(self.read)


async def test_callers_that_wait_share_a_read_that_begins_after_them() -> None:
    source = Source()
    reads = SharedReads(source)
    first = asyncio.create_task(reads("a"))
    await source.began.wait()
    later = [asyncio.create_task(reads("a")) for _ in range(50)]
    await asyncio.sleep(0)
    source.go.set()
    assert await first == 1
    assert await asyncio.gather(*later) == [2] * 50, "the first one had begun before they asked"
    assert source.read == ["a", "a"]


async def test_different_things_are_read_one_after_the_other() -> None:
    source = Source()
    source.go.set()
    reads = SharedReads(source)
    await asyncio.gather(*(reads(name) for name in "abcab"))
    assert sorted(source.read) == ["a", "b", "c"]


async def test_a_failure_reaches_all_who_wait_and_nobody_else() -> None:
    source = Source()
    source.go.set()
    reads = SharedReads(source)
    results = await asyncio.gather(*(reads("broken") for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError] * 3
    assert await reads("a") == 2


async def test_a_caller_that_leaves_does_not_end_the_read_of_others() -> None:
    source = Source()
    reads = SharedReads(source)
    leaves, stays = asyncio.create_task(reads("a")), asyncio.create_task(reads("a"))
    await source.began.wait()
    leaves.cancel()
    source.go.set()
    assert await stays == 1
    with pytest.raises(asyncio.CancelledError):
        await leaves


async def test_reads_leave_time_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    async def slow(name: str) -> None:
        await sleep(0.02)

    monkeypatch.setattr("agent.reporting.shared_reads.asyncio.sleep", noted)
    reads = SharedReads(slow)
    await reads("a")
    await reads("a")
    assert pauses[0] == 0.0
    assert 0.06 < pauses[1] <= 4 * 0.2


async def test_formats_of_metrics_are_two() -> None:
    """Each format that a header asks for would be a read of its own."""
    deps, asked = api_deps(), set()
    expose = deps.expose

    async def noted(accept: str) -> tuple[bytes, str]:
        asked.add(accept)
        return await expose(accept)

    transport = httpx.ASGITransport(create_app(replace(deps, expose=noted)), client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        headers = {"authorization": f"Bearer {KEY}"}
        for accept in ("text/plain;q=0.1", "text/plain;q=0.2", "*/*", "application/openmetrics-text; version=1.0.0"):
            answer = await client.get("/metrics", headers={**headers, "accept": accept})
            assert answer.status_code == 200
    assert len(asked) == 2
    assert "openmetrics" in answer.headers["content-type"]
