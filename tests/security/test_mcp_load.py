"""What one tenant asks of the MCP server leaves the others room: all share one event loop."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from mcp.types import TextResourceContents

from agent.api.events import BATCH
from agent.mcp_server import http as mcp_http
from agent.models.answer_chunks import calls, text
from agent.run.deltas import LocalDeltas
from agent.testing.api import KEY, OTHER_KEY, api_deps
from flightloop.call import Call
from flightloop.events import DeltaEvent, Judged, RunEvent
from flightloop.keys import Caller, Role
from flightloop.runs import RunStatus
from flightloop.settings import ClientSettings
from flightloop.tool import tool, tool_of
from flightloop.transport import AsyncTransport, tls
from flightloop.verdicts import Action, Stage, Verdict
from tests.agent.conftest import Bench
from tests.mcp_serving import HELLO, LEGACY, MODERN, connected, desk_of, serving, working
from tests.security.platforms import until

ASKS = 'name: default\nversion: "1"\ntools: {provenance: allow, allow: {support: [pay]}, ask: [{tool: pay}]}\n'
MANY = 8 * BATCH
LONG = "x" * 10_000


async def lengthen(desk: Bench, run_id: str) -> None:
    verdict = Verdict(action=Action.ALLOW, rail="r", stage=Stage.INPUT, reason=LONG)
    claim = await desk.journal.claim("w", 30)
    assert claim is not None
    await desk.journal.append(run_id, [Judged(verdict=verdict) for _ in range(MANY)], claim.lease)
    await desk.journal.release(claim.lease, RunStatus.QUEUED)


def counted(desk: Bench, monkeypatch: pytest.MonkeyPatch) -> list[RunEvent]:
    """The events that are read from now on."""
    read: list[RunEvent] = []
    events = desk.journal.events

    async def reading(*args: Any, **options: Any) -> list[RunEvent]:
        found = await events(*args, **options)
        read.extend(found)
        return found

    monkeypatch.setattr(desk.journal, "events", reading)
    return read


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_a_long_run_is_not_read_for_its_result(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @tool(effect="keyed")
    def pay(amount: int) -> str:
        """Pays."""
        return "paid"

    script = [calls(("pay", {"amount": 7})), text("All right.")]
    desk, deps = desk_of(tmp_path, *script, tools=[tool_of(pay)], policy=ASKS)
    async with serving(deps) as url, connected(url, mode=mode) as client:

        async def state(tool: str, **arguments: Any) -> dict[str, Any]:
            found = (await client.call_tool(tool, arguments)).structured_content
            assert found is not None
            return found

        run_id = (await state("start_run", agent="support", input="Pay"))["run_id"]
        await lengthen(desk, run_id)
        async with working(desk):
            waits = await state("run_result", run_id=run_id, wait_seconds=30)
        assert waits["status"] == RunStatus.WAITING_APPROVAL
        read = counted(desk, monkeypatch)
        waits = await state("run_result", run_id=run_id)
        assert (waits["status"], [one["tool"] for one in waits["approvals"]]) == ("waiting_approval", ["pay"])
        await desk.journal.decide("default", waits["approvals"][0]["approval_id"], "deny", "ann")
        assert (await state("run_result", run_id=run_id, wait_seconds=0))["status"] == "queued"
        await state("cancel_run", run_id=run_id)
        assert (await state("run_result", run_id=run_id))["status"] == "cancelled"
    assert read == []


async def test_events_are_read_as_far_as_they_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what a resource holds lie some that are on their way already, in buffers of the connection."""
    desk, deps = desk_of(tmp_path, tools=[], policy=ASKS)
    async with serving(deps) as url, connected(url) as client:
        begun = (await client.call_tool("start_run", {"agent": "support", "input": "Hello"})).structured_content
        assert begun is not None
        await lengthen(desk, begun["run_id"])
        read = counted(desk, monkeypatch)
        (content,) = (await client.read_resource(f"flightloop://runs/{begun['run_id']}/events")).contents
    assert isinstance(content, TextResourceContents)
    assert 50 < len(content.text.splitlines()) < 100
    assert len(read) < MANY / 2


class Listened(LocalDeltas):
    """``listening``: how often a run was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.listening = 0

    def listen(self, run_id: str) -> AbstractContextManager[asyncio.Queue[DeltaEvent]]:
        self.listening += 1
        return super().listen(run_id)


async def test_one_tenants_requests_at_work_have_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_http, "MOST_AT_WORK", 2)
    deltas = Listened()
    async with (
        serving(replace(api_deps(), deltas=deltas)) as url,
        connected(url, mode=MODERN) as client,
        httpx.AsyncClient() as http,
    ):

        async def status(key: str) -> int:
            return (await http.post(url, json={}, headers={"authorization": f"Bearer {key}"})).status_code

        begun = (await client.call_tool("start_run", {"agent": "support", "input": "Hello"})).structured_content
        assert begun is not None
        asked = {"run_id": begun["run_id"], "wait_seconds": 60}
        waiting = [asyncio.create_task(client.call_tool("run_result", asked)) for _ in range(2)]
        await until(lambda: deltas.listening == 2)
        assert await status(KEY) == 429
        assert await status(OTHER_KEY) not in (429, 503)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for _ in range(400):
            if await status(KEY) != 429:
                return
            await asyncio.sleep(0.05)
        pytest.fail("those that have gone are still counted")


class Slow:
    """An API that tells of a key once everybody has asked."""

    def __init__(self) -> None:
        self.asked, self.all = 0, asyncio.Event()

    async def execute(self, call: Call[Caller]) -> Caller:
        self.asked += 1
        await self.all.wait()
        return Caller(key_id="key", name="ann", role=Role.OPERATOR, tenant_id="default")


async def test_a_keys_requests_at_once_ask_for_it_once() -> None:
    """So many are no load before they are counted."""
    api, found = Slow(), list[str]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope["user"].access_token.token)

    required = mcp_http.KeyRequired(app, cast("AsyncTransport", api))
    waiting = [asyncio.create_task(required(_request(key), _nothing, _nothing)) for key in [KEY] * 50 + [OTHER_KEY]]
    await until(lambda: api.asked == 2)
    waiting[0].cancel()  # whoever asked first need not stay
    await asyncio.sleep(0)
    api.all.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (api.asked, sorted(found)) == (2, sorted([KEY] * 49 + [OTHER_KEY]))
    await required(_request(KEY), _nothing, _nothing)
    assert api.asked == 3  # nothing is remembered: a key may be revoked


def _request(key: str) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "headers": [(b"authorization", f"Bearer {key}".encode())]}


async def _nothing(*_: Any) -> Any:
    return {"type": "http.disconnect"}


def test_clients_of_a_process_read_the_certificates_once() -> None:
    """A message of an MCP client has a client of the API of its own: each would stop the loop for 10 ms."""
    before = tls.cache_info().misses
    for _ in range(3):
        AsyncTransport(ClientSettings("http://127.0.0.1:9", KEY))
    assert tls.cache_info().misses <= before + 1


async def test_one_tenants_sessions_leave_room_for_the_others() -> None:
    """Three of four sessions; those that end make room, and requests without a session need none."""
    async with serving(api_deps(), max_sessions=4) as url, httpx.AsyncClient() as http:
        accept = {"accept": "application/json, text/event-stream"}
        own, other = ({**accept, "authorization": f"Bearer {key}"} for key in (KEY, OTHER_KEY))
        begun = [await http.post(url, json=HELLO, headers=own) for _ in range(4)]
        assert [answer.status_code for answer in begun] == [200, 200, 200, 429]
        assert "3 sessions" in begun[3].json()["error"]["message"]
        assert (await http.post(url, json=HELLO, headers=other)).status_code == 200
        async with connected(url, mode=MODERN) as client:
            assert (await client.list_tools()).tools
        session = {"mcp-session-id": begun[0].headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        assert (await http.delete(url, headers=own | session)).status_code == 200
        assert (await http.post(url, json=HELLO, headers=own)).status_code == 200
