"""The journal's writer: writes share transactions, and tenants take turns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.store.backend import Transaction
from agent.store.sql.connection import Database, PersistentConnection
from agent.store.sql.writer import Writer, _in_turns, _Write
from flightloop.errors import StoreUnavailable
from guardrails.turns import TENANT


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    made = Writer(PersistentConnection(Database.of(f"sqlite:///{tmp_path / 'journal.db'}"), "BEGIN IMMEDIATE"))
    yield made
    await made.close()


def asked(writer: Writer, tenant_id: str, work: Callable[[Transaction], Any]) -> asyncio.Task[Any]:
    async def write() -> Any:
        TENANT.set(tenant_id)
        return await writer.write(work)

    return asyncio.create_task(write())


async def test_a_tenants_queue_is_not_before_others(writer: Writer) -> None:
    order: list[str] = []
    began, go_on = threading.Event(), threading.Event()

    def first(tx: Transaction) -> None:
        began.set()
        go_on.wait(10)

    tasks = [asked(writer, "a", first)]
    await asyncio.to_thread(began.wait, 10)
    tasks += [asked(writer, "a", lambda tx, n=n: order.append(f"a{n}")) for n in range(50)]
    tasks += [asked(writer, "b", lambda tx, n=n: order.append(f"b{n}")) for n in range(2)]
    await asyncio.sleep(0)  # all have asked
    go_on.set()
    await asyncio.gather(*tasks)
    assert order[:4] == ["a0", "b0", "a1", "b1"]
    assert order[4:] == [f"a{n}" for n in range(2, 50)]


async def test_a_failed_write_leaves_the_others(writer: Writer) -> None:
    def broken(tx: Transaction) -> None:
        raise LookupError("x")

    tasks = [asked(writer, "a", broken), asked(writer, "a", lambda tx: 1), asked(writer, "b", lambda tx: 2)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert (type(results[0]), results[1:]) == (LookupError, [1, 2])


async def test_closing_finishes_what_was_asked_for(tmp_path: Path) -> None:
    writer = Writer(PersistentConnection(Database.of(f"sqlite:///{tmp_path / 'journal.db'}"), "BEGIN IMMEDIATE"))
    tasks = [asked(writer, tenant, lambda tx, n=n: n) for n in range(9) for tenant in "ab"]
    await asyncio.sleep(0)
    await writer.close()
    assert await asyncio.gather(*tasks) == [n for n in range(9) for _ in "ab"]
    with pytest.raises(StoreUnavailable):
        await writer.write(lambda tx: None)


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_turns_are_fair_and_in_order(tenants: list[str]) -> None:
    writes = [_Write(tenant, lambda tx: None, None, None) for tenant in tenants]  # type: ignore[arg-type]
    found = _in_turns(writes)
    assert sorted(map(id, found)) == sorted(map(id, writes))
    for tenant in set(tenants):
        own = [write for write in found if write.tenant_id == tenant]
        assert own == [write for write in writes if write.tenant_id == tenant]
        for place, write in enumerate(own):  # before it, no tenant had more than one write more
            before = [one.tenant_id for one in found[: found.index(write)]]
            assert all(before.count(other) <= place + 1 for other in set(tenants))
