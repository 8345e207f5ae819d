"""A tenant's key, however it came to be, reaches no other tenant."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.api import create_app
from agent.api.auth import Keyring, Principal
from agent.api.body_limit import TENANT, HeldBodies
from agent.api.deps import ApiDeps
from agent.loop.local_hosts import LocalHosts
from agent.models.answer_chunks import calls, text
from agent.project.agent_spec import AgentSpec
from agent.serve.front.app import Front
from agent.store import memory_journal, sql_journal
from agent.testing.api import KEY, OTHER_KEY, api_deps
from agent.testing.fakes import RuleGuard, ScriptedChatModel
from flightloop.cli.project import write_project
from flightloop.errors import Overloaded
from flightloop.subject import Subject
from flightloop.tool import ToolContext, tool
from tests.agent.conftest import Bench, Clock, created
from tests.security.conftest import Deployment

RUN = {"agent": "support", "input": "Where is my order?"}


def calling(deps: ApiDeps, key: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
async def test_a_tenants_own_key_makes_none_for_another_tenant(role: str) -> None:
    """``FLIGHTLOOP_TENANT_KEYS`` goes to the tenants; only the deployment's own key makes keys for all."""
    deps = api_deps()
    async with calling(deps, OTHER_KEY) as other, calling(deps, KEY) as owner:
        for tenant in ("default", "third"):
            refused = await other.post("/v1/keys", json={"name": "x", "role": role, "tenant_id": tenant})
            assert (refused.status_code, refused.json()["error"]["param"]) == (403, "tenant_id")
        assert (await owner.get("/v1/keys")).json()["data"] == []
        assert (await other.post("/v1/keys", json={"name": "x", "role": role})).json()["tenant_id"] == "other"
        made = await owner.post("/v1/keys", json={"name": "x", "role": role, "tenant_id": "third"})
        assert made.json()["tenant_id"] == "third"


async def test_nothing_of_a_run_is_another_tenants() -> None:
    deps = api_deps()
    async with calling(deps, KEY) as owner, calling(deps, OTHER_KEY) as other:
        run = (await owner.post("/v1/runs", json=RUN)).json()["id"]
        interrupt = (await owner.post("/v1/interrupts", json={"scope": "agent", "target": "x"})).json()["id"]
        asked = [
            ("GET", f"/v1/runs/{run}", None),
            ("GET", f"/v1/runs/{run}/events", None),
            ("POST", f"/v1/runs/{run}/fork", {"step": 0}),
            ("POST", f"/v1/runs/{run}/cancel", None),
            ("POST", f"/v1/runs/{run}/interrupt", {}),
            ("POST", f"/v1/runs/{run}/resume", {}),
            ("POST", f"/v1/runs/{run}/feedback", {"score": 5, "resolved": True}),
            ("POST", f"/v1/runs/{run}/outcome", {"solved": True}),
            ("DELETE", f"/v1/interrupts/{interrupt}", None),
        ]
        for method, path, body in asked:
            assert (await other.request(method, path, json=body)).status_code == 404, path
        assert (await other.get("/v1/audit", params={"run_id": run})).json()["data"] == []
        assert (await owner.get("/v1/interrupts")).json()["data"][0]["cleared_at"] is None


async def test_one_tenants_streams_leave_room_for_the_others() -> None:
    open_streams = asyncio.Semaphore(0)

    async def held_open(scope: Scope, receive: Receive, send: Send) -> None:
        open_streams.release()
        await asyncio.Event().wait()

    front = Front(api_deps(), held_open, most=8)
    async with _asking(front, KEY) as owner, _asking(front, OTHER_KEY) as other:
        held = [asyncio.create_task(owner.get("/v1/runs/run_1/events")) for _ in range(6)]
        for _ in held:
            await open_streams.acquire()
        refused = await owner.get("/v1/models")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
        assert "of one tenant" in refused.json()["error"]["message"]
        theirs = asyncio.create_task(other.get("/v1/models"))
        await open_streams.acquire()
        held.pop().cancel()
        await asyncio.sleep(0)
        again = asyncio.create_task(owner.get("/v1/models"))
        await open_streams.acquire()  # a stream that ended makes room
        for task in (*held, theirs, again):
            task.cancel()
        await asyncio.gather(*held, theirs, again, return_exceptions=True)


class SlowKeyring(Keyring):
    """Knows the keys of ``api_deps``, and looks each up until ``found`` is set."""

    def __init__(self) -> None:
        super().__init__({KEY: "default", OTHER_KEY: "other"})
        self.asked = asyncio.Semaphore(0)
        self.found = asyncio.Event()

    async def principal(self, authorization: str | None) -> Principal:
        self.asked.release()
        await self.found.wait()
        return await super().principal(authorization)


async def test_requests_whose_keys_are_looked_up_together_pass_no_limit() -> None:
    keyring, decided = SlowKeyring(), asyncio.Semaphore(0)

    async def held_open(scope: Scope, receive: Receive, send: Send) -> None:
        decided.release()
        await asyncio.Event().wait()

    front = Front(replace(api_deps(), keyring=keyring), held_open, most=4)
    async with _asking(front, KEY) as owner, _asking(front, OTHER_KEY) as other:
        asked = [asyncio.create_task(client.get("/v1/runs")) for client in (owner, other) for _ in range(3)]
        for task in asked:
            task.add_done_callback(lambda _: decided.release())
            await keyring.asked.acquire()
        keyring.found.set()
        for _ in asked:
            await decided.acquire()
        assert [task.result().status_code for task in asked if task.done()] == [429, 429]
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def test_answers_that_nobody_reads_have_a_limit() -> None:
    """Of all, and of each tenant, so that one leaves the others room; a first one always passes."""
    reading, large = asyncio.Event(), b"x" * 400

    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"400")]})
        await reading.wait()
        await send({"type": "http.response.body", "body": large})

    front = Front(api_deps(), answers, most=100, together=1000)
    async with _asking(front, KEY) as owner, _asking(front, OTHER_KEY) as other:
        asked = []
        for client in (owner, owner, other):
            asked.append(asyncio.create_task(client.get("/v1/runs")))
            await asyncio.sleep(0.01)  # each has begun before the next
        reading.set()
        first, refused, theirs = await asyncio.gather(*asked)
        assert (first.content, theirs.content) == (large, large)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
        assert (await owner.get("/v1/runs")).status_code == 200


async def test_bodies_of_one_tenant_leave_the_others_room() -> None:
    bodies = HeldBodies(limit=400, together=1000)

    def of(tenant: str) -> Scope:
        return {"type": "http", "state": {TENANT: tenant}}

    with bodies.one(of("many")) as first, bodies.one(of("many")) as second, bodies.one(of("one")) as other:
        first(400)
        second(350)
        with pytest.raises(Overloaded):
            second(1)
        other(250)
        with pytest.raises(Overloaded):
            other(1)
    with bodies.one(of("many")) as again:
        again(400)


def _asking(app: ASGIApp, key: str) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api", headers=headers)


@tool(effect="pure")
async def lasts() -> str:
    """Takes as long as it likes."""
    await asyncio.Event().wait()
    return ""


async def test_however_much_one_tenant_has_to_do_another_ones_run_begins(tmp_path: Path) -> None:
    clock, long = Clock(), [calls(("lasts", {}))] * 4
    declared = [lasts.__flightloop_tool__]  # type: ignore[attr-defined]
    agent = AgentSpec(name="helper", instructions="Help.", planning=False, tools=("lasts",))
    model = ScriptedChatModel([*long, text("here")])
    bench = Bench(
        memory_journal(clock=clock, poll_s=0.01), clock, model, LocalHosts(declared), RuleGuard(), agent, tmp_path
    )
    for number in range(12):
        await bench.start(session_id=f"s{number}")
    working = asyncio.create_task(bench.worker(concurrency=4).run())
    try:
        async with asyncio.timeout(20):
            while len(bench.hosts.attempts) < 4:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.002)
            run = await bench.start(tenant_id="other")
            while not (await bench.journal.get("other", run.id)).status.terminal:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        assert (await bench.journal.get("other", run.id)).status == "succeeded"
        assert len(model.requests) == 5, "the first tenant has its four places and no more"
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def test_a_tenant_with_fewer_runs_goes_first(tmp_path: Path) -> None:
    """Its short run does not wait behind another one's backlog because a long one of its own is held."""
    clock, long = Clock(), calls(("lasts", {}))
    declared = [lasts.__flightloop_tool__]  # type: ignore[attr-defined]
    agent = AgentSpec(name="helper", instructions="Help.", planning=False, tools=("lasts",))
    gate = asyncio.Event()
    model = ScriptedChatModel([*[long] * 3, [gate.wait(), *text("a place is free")], text("short"), *[long] * 9])
    journal = memory_journal(clock=clock, poll_s=0.01)
    bench = Bench(journal, clock, model, LocalHosts(declared), RuleGuard(), agent, tmp_path)
    await bench.start(tenant_id="few", session_id="long")
    for number in range(8):
        await bench.start(tenant_id="many", session_id=f"s{number}")
    working = asyncio.create_task(bench.worker(concurrency=4).run())
    try:
        async with asyncio.timeout(20):
            while len(model.requests) < 4:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.002)
            run = await bench.start(tenant_id="few", session_id="short")
            gate.set()
            while not (await journal.get("few", run.id)).status.terminal:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        assert (await journal.get("few", run.id)).status == "succeeded"
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


@pytest.mark.parametrize("kept_in", ["memory", "sqlite"])
async def test_tenants_of_which_no_run_is_held_go_first(tmp_path: Path, kept_in: str) -> None:
    journal = memory_journal() if kept_in == "memory" else sql_journal(f"sqlite:///{tmp_path / 'journal.db'}")
    for tenant in ("busy", "busy", "other", "third"):
        await journal.create(created(tenant_id=tenant, session_id=tenant))
    order = []
    for served in ((), ("busy",), ("busy", "other"), ("busy", "other", "third"), ()):
        claim = await journal.claim("w", 30, [served])
        order.append(claim.run.tenant_id if claim else None)
    assert order == ["busy", "other", "third", None, "busy"]
    await journal.close()


async def test_the_project_that_is_made_anew_tells_no_tenant_of_another(deployment: Deployment, tmp_path: Path) -> None:
    write_project(tmp_path / "notes")
    hosts = await deployment.hosts(tmp_path / "notes" / "tools.py")

    def of(tenant: str, number: int) -> ToolContext:
        return deployment.context(tenant, run_id=f"run{number}")  # all in a session of the same name

    assert (await hosts.call("add_reminder", {"text": "ours"}, of("one", 1))).content == {"added": "ours"}
    assert (await hosts.call("list_reminders", {}, of("two", 2))).content == []
    ours = [{"owner": "", "text": "ours"}]
    assert (await hosts.call("list_reminders", {}, of("one", 3))).content == ours
    ann, bob = (replace(of("one", at), subject=Subject(id=name)) for at, name in ((4, "ann"), (5, "bob")))
    await hosts.call("add_reminder", {"text": "hers"}, ann)
    hers = [{"owner": "ann", "text": "hers"}]
    assert (await hosts.call("list_reminders", {}, replace(ann, session_id="another"))).content == hers
    assert (await hosts.call("list_reminders", {}, bob)).content == []
    assert (await hosts.call("list_reminders", {}, of("one", 6))).content == ours
