"""A stop stops, however it is asked for; and the stops of one tenant are no burden to others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from agent.api import create_app
from agent.run.journal import Journal
from agent.store import memory_journal, sql_journal
from agent.store.rules import stops
from agent.testing.api import KEY, OTHER_KEY, api_deps
from guardrails.interrupt import ANY_TENANT

CHAT = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    made = memory_journal() if request.param == "memory" else sql_journal(f"sqlite:///{tmp_path / 'journal.db'}")
    yield made
    await made.close()


@asynccontextmanager
async def calling(journal: Journal, key: str = KEY) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(replace(api_deps(), journal=journal)))
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        yield client


async def test_a_stop_under_a_used_key_stops_again(journal: Journal) -> None:
    key = {"idempotency-key": "drill"}
    async with calling(journal) as client:
        first = await client.post("/v1/interrupts", json={}, headers=key)
        again = await client.post("/v1/interrupts", json={}, headers=key)
        assert (again.json()["id"], again.headers["idempotent-replayed"]) == (first.json()["id"], "true")
        assert (await client.delete(f"/v1/interrupts/{first.json()['id']}")).status_code == 200
        anew = await client.post("/v1/interrupts", json={}, headers=key)
        assert (anew.status_code, anew.json()["cleared_at"]) == (201, None)
        assert anew.json()["id"] != first.json()["id"]
        assert "idempotent-replayed" not in anew.headers
        assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 423
        replayed = await client.post("/v1/interrupts", json={}, headers=key)
        assert replayed.json()["id"] == anew.json()["id"]


async def test_a_tenant_latches_only_so_many_stops(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "MOST", 3)
    async with calling(journal) as client, calling(journal, OTHER_KEY) as other:

        async def stop(**fields: str) -> httpx.Response:
            return await client.post("/v1/interrupts", json=fields)

        latched = [await stop(scope="agent", target=f'a{index}"scope":"run"') for index in range(3)]
        assert [answer.status_code for answer in latched] == [201] * 3
        refused = await stop(scope="agent", target="one more")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
        assert "scope 'all'" in refused.json()["error"]["message"]
        assert (await journal.raise_interrupt("default", "run", "run_1")).cleared_at is None
        everything = await stop()
        assert everything.status_code == 201
        assert (await stop()).json()["id"] == everything.json()["id"]
        assert (await other.post("/v1/interrupts", json={"scope": "agent", "target": "a"})).status_code == 201
        for one in (everything, *latched[:1]):
            await client.delete(f"/v1/interrupts/{one.json()['id']}")
        assert (await stop(scope="agent", target="one more")).status_code == 201


async def test_stops_are_read_only_when_there_is_another(journal: Journal) -> None:
    stop = await journal.raise_interrupt("default", "all")
    before = await journal.interrupt_snapshot()
    assert await journal.interrupt_snapshot() is before
    await journal.clear_interrupt("default", stop.id)
    [cleared] = (await journal.interrupt_snapshot()).interrupts
    assert cleared.cleared_at is not None


async def test_stops_of_the_past_come_to_an_end(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process reads all that it may still have to obey, as often as there is another one."""
    monkeypatch.setattr(stops, "KEPT", 3)
    theirs = await journal.raise_interrupt("other", "agent", "a")
    await journal.clear_interrupt("other", theirs.id)
    latched = await journal.raise_interrupt("default", "agent", "stays")
    for number in range(10):
        cleared = await journal.raise_interrupt("default", "session", f"s{number}")
        await journal.clear_interrupt("default", cleared.id)
        await journal.raise_interrupt("default", "run", f"run_{number}")
    found = {(each.tenant_id, each.target) for each in (await journal.interrupt_snapshot()).interrupts}
    past = {("default", None), ("default", "s9"), ("default", "run_9")}
    assert found == {("other", "a"), ("default", latched.target), *past}
    assert len(await journal.interrupts("default", active=False)) == 4


async def test_old_stops_of_single_tenants_do_not_become_one_of_all(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stops, "KEPT", 3)
    first = await journal.raise_interrupt(ANY_TENANT, "all")
    await journal.clear_interrupt(ANY_TENANT, first.id)
    latest: dict[str | None, int] = {None: first.epoch}
    for number in range(10):
        tenant = f"t{number % 2}"
        one = await journal.raise_interrupt(ANY_TENANT, "tenant", tenant)
        await journal.clear_interrupt(ANY_TENANT, one.id)
        latest[tenant] = one.epoch
    found = (await journal.interrupt_snapshot()).interrupts
    kept = {target: max(one.epoch for one in found if one.target == target) for target in latest}
    assert kept == latest  # a stop of all tenants is as old as it was
    assert {(one.scope, one.target) for one in found} == {("all", None), ("tenant", "t0"), ("tenant", "t1")}
    assert len(found) <= 3 + 3
