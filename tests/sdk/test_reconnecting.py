"""Broken connections and refusals: nothing is lost, nothing repeated, and the waits are as promised."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.testing.api import KEY
from agent.testing.platform import Platform
from flightloop import Flightloop, errors
from flightloop import events as ev
from flightloop.resources import Agents, Runs
from flightloop.runs import RunStatus, StopReason
from flightloop.settings import ClientSettings
from flightloop.transport import AsyncTransport, SyncTransport
from tests.faulty_proxy import Fault, FaultyProxy


def went_on(platform: Platform) -> str:
    """A run that ended, was resumed and ended again: its first end is not the end of its events."""
    platform.rest()
    with Flightloop(platform.url, KEY) as client:
        run = client.runs.create(agent="support", input="Où est-elle ? \u2028")
        client.runs.interrupt(run.id)
        client.runs.resume(run.id)
    platform.write(run.id, ev.Replied(text="à demain", model=ev.ModelCall(model="m")))
    platform.write(run.id, ev.RunEnded(status=RunStatus.SUCCEEDED, stop_reason=StopReason.ANSWERED))
    return run.id


def test_a_stream_cut_anywhere_tells_each_event_once(platform: Platform) -> None:
    run_id = went_on(platform)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(1, 700), max_size=8), st.integers(0, 3))
    def cut(cuts: list[int], after: int) -> None:
        with FaultyProxy(platform.url) as proxy:
            told = ClientSettings(proxy.url, KEY)
            proxy.cuts.extend(cuts)
            transport = SyncTransport(told, sleep=lambda _: None)
            assert [event.seq for event in Runs(transport).stream(run_id, after=after)] == list(range(after + 1, 7))
            transport.close()

            async def waiting() -> list[int]:
                proxy.cuts.clear()
                proxy.cuts.extend(cuts)
                async_transport = AsyncTransport(told, sleep=lambda _: asyncio.sleep(0))
                found = [event.seq async for event in Runs(async_transport).stream(run_id, after=after)]
                await async_transport.close()
                return found

            assert asyncio.run(waiting()) == list(range(after + 1, 7))

    cut()


def waits(proxy: FaultyProxy, retries: int, *faults: Fault) -> list[float]:
    """How long a call waited between its attempts."""
    found: list[float] = []
    transport = SyncTransport(ClientSettings(proxy.url, KEY, retries=retries), sleep=found.append)
    proxy.faults.extend(faults)
    try:
        Agents(transport).list()
    finally:
        transport.close()
    return found


def test_waits_double_up_to_eight_seconds_with_jitter(proxy: FaultyProxy) -> None:
    found = waits(proxy, 7, *[Fault(503, "model_unavailable")] * 7)
    for wait, longest in zip(found, [0.5, 1, 2, 4, 8, 8, 8], strict=True):
        assert longest / 2 <= wait <= longest


def test_the_server_says_when(proxy: FaultyProxy) -> None:
    in_a_while = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    first, second = waits(proxy, 2, Fault(429, retry_after="3"), Fault(503, "store_unavailable", in_a_while))
    assert first == 3
    assert 0 < second <= 20
    assert waits(proxy, 2, Fault(429, retry_after="-5")) == [0]
    for nonsense in ("soon", "nan", "inf"):
        assert 0 < waits(proxy, 2, Fault(429, retry_after=nonsense))[0] <= 0.5


def test_a_first_attempt_that_is_still_at_work_is_waited_for(proxy: FaultyProxy) -> None:
    assert waits(proxy, 2, Fault(409, "idempotency_in_flight", "1")) == [1]
    with pytest.raises(errors.Conflict):
        waits(proxy, 2, Fault(409, "conflict"))
