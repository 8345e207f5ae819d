"""Calls and pages without a server: deadlines, broken bodies, lists of several pages."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime

import httpx
import pytest

from flightloop import AsyncFlightloop, Flightloop
from flightloop.call import Attempts, Call
from flightloop.cli.paging import every
from flightloop.errors import NotFlightloop, Overloaded
from flightloop.feeds import RunFeed
from flightloop.keys import ApiKey, Role
from flightloop.runs import Page
from flightloop.settings import ClientSettings
from flightloop.testing import RecordedAnswers
from flightloop.transport import SyncTransport

KEY = "k" * 20


class Stream(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A body that is not what its headers say."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"not gzip"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"not gzip"


def broken(request: httpx.Request) -> httpx.Response:
    headers = {"content-encoding": "gzip", "content-type": "text/event-stream"}
    return httpx.Response(200, headers=headers, stream=Stream(), request=request)


BROKEN = httpx.MockTransport(broken)


@pytest.mark.parametrize("left", [0.5, -1.0])
def test_no_wait_passes_the_deadline(left: float) -> None:
    settings = ClientSettings("http://server", KEY)
    attempts = Attempts(Call("GET", "/", lambda _: None), settings, time.monotonic() + left)
    assert attempts.delay(Overloaded("busy", retry_after=50)) <= max(0.0, left)


def test_a_stream_gives_up_at_its_deadline_whatever_the_server_says() -> None:
    waited: list[float] = []
    answers = RecordedAnswers({"GET /v1/runs/run_1/events": Overloaded("busy", retry_after=50)})
    settings = ClientSettings("http://server", KEY)

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        feed.deadline = 0.0

    transport = SyncTransport(settings, sleep=sleep, transport=answers)
    feed = RunFeed("run_1", timeout_s=5)
    with pytest.raises(TimeoutError):
        list(transport.stream(feed))
    transport.close()
    assert len(waited) == 1
    assert waited[0] <= 5


def test_a_body_that_cannot_be_decompressed_is_no_answer_of_the_api() -> None:
    with Flightloop("http://server", KEY, transport=BROKEN) as client:
        with pytest.raises(NotFlightloop, match="http://server/v1/overview"):
            client.overview()
        with pytest.raises(NotFlightloop, match="http://server/v1/runs/run_1/events"):
            list(client.runs.stream("run_1"))


async def test_the_async_client_says_the_same() -> None:
    async with AsyncFlightloop("http://server", KEY, transport=BROKEN) as client:
        with pytest.raises(NotFlightloop, match="http://server/v1/overview"):
            await client.overview()
        with pytest.raises(NotFlightloop, match="http://server/v1/runs/run_1/events"):
            async for _ in client.runs.stream("run_1"):
                pass


def keys(numbers: Iterable[int]) -> list[ApiKey]:
    return [
        ApiKey(id=f"key_{at}", tenant_id="default", name="n", role=Role.VIEWER, created_at=datetime.now(UTC))
        for at in numbers
    ]


def test_a_page_iterates_over_its_entries() -> None:
    page = Page[ApiKey](data=keys(range(3)), has_more=True, next_after="key_2")
    assert list(page) == page.data
    assert page.model_dump()["next_after"] == "key_2"


def test_every_entry_of_every_page() -> None:
    pages = [
        Page[ApiKey](data=keys(range(3)), has_more=True, next_after="key_2"),
        Page[ApiKey](data=keys(range(3, 5))),
    ]
    answers = RecordedAnswers({"GET /v1/keys": pages})
    with Flightloop("http://server", KEY, transport=answers) as client:
        assert [key.id for key in every(client.keys.list, limit=3)] == [f"key_{at}" for at in range(5)]
    assert [request.url.params.get("after") for request in answers.requests] == [None, "key_2"]
