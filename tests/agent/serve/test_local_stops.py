"""Stops of everything by a signal and by a file in the home."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.reporting.background import background
from agent.serve.local_stops import FILE, stop_once, stop_requests, stop_when_signalled, stop_while_file_exists
from agent.store import memory_journal, sql_journal
from flightloop.chat import Tags
from flightloop.errors import ConfigError, StoreUnavailable
from flightloop.runs import Interrupt
from guardrails.interrupt import ANY_TENANT, InterruptWatch


async def until(met: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while True:
            if await met():
                return
            await asyncio.sleep(0.005)


async def latched(journal: Any) -> list[Interrupt]:
    return list(await journal.interrupts(ANY_TENANT))


async def test_a_signal_stops_every_tenant() -> None:
    journal, asked = memory_journal(), stop_requests()

    async def stopped() -> bool:
        return bool(await latched(journal))

    async with background(stop_when_signalled(journal, asked)):
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(stopped)
    (stop,) = await latched(journal)
    assert (stop.scope, stop.tenant_id) == ("all", ANY_TENANT)
    assert stop.created_by.startswith("SIGUSR1 on ")
    assert stop.reason == f"signal to process {os.getpid()}"
    snapshot = await journal.interrupt_snapshot()
    watch = InterruptWatch(lambda: snapshot, 60.0)
    watch.poll()
    assert watch.stopped(Tags(tenant_id="anyone"), snapshot.epoch)
    assert [each.id for each in await journal.interrupts("anyone")] == [stop.id]


async def test_a_file_stops_until_it_is_removed_and_the_stop_cleared(tmp_path: Path) -> None:
    journal, file = memory_journal(), tmp_path / FILE

    async def is_stopped() -> bool:
        return bool(await latched(journal))

    file.write_text("fire in the\n warehouse\x1b[2J")
    async with background(stop_while_file_exists(journal, tmp_path, 0.005)):
        await until(is_stopped)
        (first,) = await latched(journal)
        assert first.created_by.startswith("file STOP on ")
        assert first.reason == "fire in the warehouse\N{REPLACEMENT CHARACTER}[2J"
        await journal.clear_interrupt(ANY_TENANT, first.id)
        await until(is_stopped)  # the file still exists
        (second,) = await latched(journal)
        assert second.id != first.id
        file.unlink()
        await journal.clear_interrupt(ANY_TENANT, second.id)
        file.write_text("again")
        await until(is_stopped)
    raised = await journal.interrupts(ANY_TENANT, active=False)
    assert [stop.reason for stop in raised] == ["again", second.reason, first.reason]


async def test_a_pipe_with_a_writer_stops(tmp_path: Path) -> None:
    journal, file = memory_journal(), tmp_path / FILE
    os.mkfifo(file)
    writer = os.open(file, os.O_RDWR)  # a read then has no end of file and no data

    async def is_stopped() -> bool:
        return bool(await latched(journal))

    try:
        async with background(stop_while_file_exists(journal, tmp_path, 0.005)):
            await until(is_stopped)
    finally:
        os.close(writer)
    assert [stop.reason for stop in await latched(journal)] == [""]


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "empty"])
async def test_whatever_has_the_name_stops(tmp_path: Path, kind: str) -> None:
    journal, file = memory_journal(), tmp_path / FILE
    {
        "folder": file.mkdir,
        "pipe": lambda: os.mkfifo(file),
        "link": lambda: file.symlink_to(tmp_path / "nowhere"),
        "empty": file.touch,
    }[kind]()

    async def is_stopped() -> bool:
        return bool(await latched(journal))

    async with background(stop_while_file_exists(journal, tmp_path, 0.005)):
        await until(is_stopped)
    assert [stop.reason for stop in await latched(journal)] == [""]


async def test_a_stop_is_tried_until_the_journal_takes_it() -> None:
    journal, asked, refused = memory_journal(), asyncio.Event(), 0

    class Unavailable:
        async def interrupts(self, tenant_id: str) -> list[Interrupt]:
            nonlocal refused
            refused += 1
            if refused == 1:
                raise StoreUnavailable("no disk")
            return list(await journal.interrupts(tenant_id))

        raise_interrupt = journal.raise_interrupt

    async def is_stopped() -> bool:
        return bool(await latched(journal))

    asked.set()
    async with background(stop_when_signalled(Unavailable(), asked)):  # type: ignore[arg-type]
        await until(is_stopped)
    assert refused == 2


async def test_a_signal_is_not_lost_while_no_journal_can_be_opened(tmp_path: Path) -> None:
    url, tried = f"sqlite:///{tmp_path}/journal.db", 0

    def opened() -> Any:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise ConfigError("the home is unavailable")
        if tried == 2:
            raise RuntimeError("anything else")
        return sql_journal(url, urgent=True)

    await stop_once(opened)
    journal = sql_journal(url)
    stops = await latched(journal)
    await journal.close()
    assert (tried, [stop.created_by.partition(" on ")[0] for stop in stops]) == (3, ["SIGUSR1"])


async def test_a_stop_that_the_own_journal_refuses_is_stored_by_an_urgent_one(tmp_path: Path) -> None:
    url, asked = f"sqlite:///{tmp_path}/journal.db", asyncio.Event()
    journal = sql_journal(url)

    class Full:
        interrupts = journal.interrupts

        async def raise_interrupt(self, *given: Any, **more: Any) -> Interrupt:
            raise StoreUnavailable("the disk is full")

    async def is_stopped() -> bool:
        return bool(await latched(journal))

    asked.set()
    urgent = partial(sql_journal, url, urgent=True)
    async with background(stop_when_signalled(Full(), asked, urgent)):  # type: ignore[arg-type]
        await until(is_stopped)
    assert len(await latched(journal)) == 1
    await journal.close()
