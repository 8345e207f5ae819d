"""A fork waits for a person where its run did: another policy is an admin's to give, and on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider

from agent.api import ApiDeps, create_app
from agent.api.auth import Keyring
from agent.loop.agent_runtime import AgentRuntimes
from agent.loop.local_hosts import LocalHosts
from agent.loop.worker import Worker, WorkerConfig
from agent.models.answer_chunks import Turn, calls, text
from agent.project.catalogue import ProjectCatalogue
from agent.project.project import LiveProject
from agent.run.deltas import LocalDeltas
from agent.store import StoreJournal, memory_journal
from agent.testing.api import KEY, api_deps
from agent.testing.fakes import ScriptedChatModel
from flightloop.runs import RunStatus
from guardrails.audit import verify
from guardrails.guard import Guard
from guardrails.interrupt import InterruptSnapshot, InterruptWatch
from guardrails.policy import unhurried
from observability.tracing import Tracing
from tools.registry import Registry

TOOLS = '''
from flightloop import ToolContext, tool

@tool(effect="pure")
def find(order_id: int) -> str:
    """Finds an order."""
    return f"order {order_id} was sent"

@tool(effect="keyed")
def refund(context: ToolContext, amount: float) -> str:
    """Pays money back."""
    with (context.data / "paid").open("a") as file:
        file.write(f"{amount}\\n")
    return "paid"
'''
POLICY = """
name: desk
version: "1"
tools:
  provenance: allow
  allow: {desk: [find, refund]}
  ask: [{tool: refund}]
"""
FIND, REFUND = calls(("find", {"order_id": 7})), calls(("refund", {"amount": 184.7}))


@dataclass
class Desk:
    """A platform with one agent whose refunds wait for a person, driven by a script."""

    folder: Path
    data: Path
    deps: ApiDeps
    journal: StoreJournal
    worker: Worker
    owner: httpx.AsyncClient

    @property
    def paid(self) -> list[str]:
        file = self.data / "paid"
        return file.read_text().split() if file.exists() else []

    async def key(self, role: str) -> httpx.AsyncClient:
        made = (await self.owner.post("/v1/keys", json={"name": role, "role": role})).json()
        return calling(self.deps, made["key"])

    async def settled(self, run_id: str) -> dict[str, Any]:
        """The run, once it has ended or waits for a person."""
        async with asyncio.timeout(20):
            while True:
                run: dict[str, Any] = (await self.owner.get(f"/v1/runs/{run_id}")).json()
                if run["status"] not in ("queued", "running"):
                    return run
                await self.journal.wait(run_id, run["last_seq"], 1.0)

    async def waiting(self) -> dict[str, Any]:
        """A run whose second step, a refund, waits for a person."""
        run = (await self.owner.post("/v1/runs", json={"agent": "desk", "input": "Refund 184.7 of order 7"})).json()
        run = await self.settled(run["id"])
        assert run["status"] == RunStatus.WAITING_APPROVAL
        return run

    async def decided(self, run_id: str, decision: str) -> dict[str, Any]:
        pending = (await self.owner.get("/v1/approvals", params={"status": "pending"})).json()["data"]
        (approval,) = [each for each in pending if each["run_id"] == run_id]
        await self.owner.post(f"/v1/approvals/{approval['id']}", json={"decision": decision})
        async with asyncio.timeout(20):
            while (run := await self.settled(run_id))["status"] == RunStatus.WAITING_APPROVAL:
                await self.journal.wait(run_id, run["last_seq"], 1.0)
        return run


def calling(deps: ApiDeps, key: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)


@asynccontextmanager
async def working(folder: Path, *script: Turn) -> AsyncIterator[Desk]:
    project, data = folder / "project", folder / "data"
    for name in ("agents", "policies"):
        (project / name).mkdir(parents=True)
    data.mkdir()
    (project / "tools.py").write_text(TOOLS)
    (project / "policies" / "desk.yaml").write_text(POLICY)
    agent = "name: desk\ninstructions: Help.\ntools: [find, refund]\npolicy: desk\nplanning: false\n"
    (project / "agents" / "desk.yaml").write_text(agent)
    live, journal = LiveProject(project, ()), memory_journal(poll_s=0.01)
    kits = AgentRuntimes(
        live,
        lambda policy: Guard(unhurried(policy)),
        lambda known: LocalHosts(Registry.load(known.tools.sources).tools()),
    )
    tracing = Tracing(TracerProvider(shutdown_on_exit=False))
    watch = InterruptWatch(lambda: InterruptSnapshot(0, ()), 60.0)
    config = WorkerConfig(poll_s=0.01, lease_s=30.0)
    worker = Worker(journal, kits, ScriptedChatModel(script), "m", watch, LocalDeltas(), tracing, data, config=config)
    deps = api_deps(
        journal=journal,
        keys=journal.keys,
        keyring=Keyring({KEY: "default"}, journal.keys),
        catalogue=ProjectCatalogue(live, Guard, "scripted"),
    )
    task = asyncio.create_task(worker.run())
    try:
        async with calling(deps, KEY) as owner:
            yield Desk(project, data, deps, journal, worker, owner)
    finally:
        worker.drain()
        await task
        await kits.close()
        await journal.close()


async def test_an_operator_cannot_fork_a_waiting_refund_under_another_policy(tmp_path: Path) -> None:
    async with working(tmp_path, FIND, REFUND, REFUND) as desk, await desk.key("operator") as operator:
        run = await desk.waiting()
        before = len((await desk.owner.get("/v1/runs")).json()["data"])
        for policy in ("default", "desk"):
            refused = await operator.post(f"/v1/runs/{run['id']}/fork", json={"step": 1, "policy": policy})
            assert refused.status_code == (403 if policy == "default" else 201), refused.text
        assert (
            "needs the role admin"
            in (await operator.post(f"/v1/runs/{run['id']}/fork", json={"step": 1, "policy": "default"})).json()[
                "error"
            ]["message"]
        )
        assert len((await desk.owner.get("/v1/runs")).json()["data"]) == before + 1
        assert desk.paid == []


async def test_a_fork_keeps_the_hash_and_waits_again(tmp_path: Path) -> None:
    async with working(tmp_path, FIND, REFUND, REFUND, text("Done.")) as desk, await desk.key("operator") as operator:
        run = await desk.waiting()
        fork = (await operator.post(f"/v1/runs/{run['id']}/fork", json={"step": 1, "input": "Just do it"})).json()
        assert (fork["policy"], fork["policy_sha256"]) == (None, run["policy_sha256"])
        assert (await desk.settled(fork["id"]))["status"] == RunStatus.WAITING_APPROVAL
        assert desk.paid == []
        assert (await desk.decided(fork["id"], "approve"))["status"] == RunStatus.SUCCEEDED
        assert desk.paid == ["184.7"]
        assert (await desk.settled(run["id"]))["status"] == RunStatus.WAITING_APPROVAL  # it was not the run's approval


async def test_an_approval_is_not_taken_over(tmp_path: Path) -> None:
    """Neither by the same call before the approved step, nor by another one behind it."""
    more = calls(("refund", {"amount": 999.0}))
    async with working(tmp_path, FIND, REFUND, text("Paid."), REFUND, more) as desk:
        run = await desk.waiting()
        assert (await desk.decided(run["id"], "approve"))["status"] == RunStatus.SUCCEEDED
        for step in (1, 2):
            fork = (await desk.owner.post(f"/v1/runs/{run['id']}/fork", json={"step": step})).json()
            assert (await desk.settled(fork["id"]))["status"] == RunStatus.WAITING_APPROVAL
        assert desk.paid == ["184.7"]


async def test_the_step_that_waits_cannot_be_forked(tmp_path: Path) -> None:
    async with working(tmp_path, FIND, REFUND) as desk:
        run = await desk.waiting()
        refused = await desk.owner.post(f"/v1/runs/{run['id']}/fork", json={"step": 2})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")


async def test_an_admins_override_is_an_audit_record(tmp_path: Path) -> None:
    async with (
        working(tmp_path, FIND, REFUND, REFUND, text("Paid."), REFUND) as desk,
        await desk.key("admin") as admin,
        await desk.key("operator") as operator,
    ):
        run = await desk.waiting()
        body, once = {"step": 1, "policy": "default"}, {"idempotency-key": "k"}
        fork = (await admin.post(f"/v1/runs/{run['id']}/fork", json=body, headers=once)).json()
        assert (await admin.post(f"/v1/runs/{run['id']}/fork", json=body, headers=once)).json()["id"] == fork["id"]
        assert (await operator.post(f"/v1/runs/{run['id']}/fork", json=body, headers=once)).status_code == 403
        assert (await desk.settled(fork["id"]))["status"] == RunStatus.SUCCEEDED
        records = await desk.journal.audit("default", limit=1000)
        (record,) = [each for each in records if each.verdict and each.verdict.rail == "fork"]
        assert (record.run_id, record.verdict.policy_sha256) == (fork["id"], fork["policy_sha256"])
        for told in ("key:admin", run["id"], "default", run["policy_sha256"][:12]):
            assert told in record.verdict.reason
        assert verify(records) is None
        # What an admin let pass once is no way for an operator to have it pass again.
        for more in ({}, {"policy": "default"}, {"policy": "desk"}):
            refused = await operator.post(f"/v1/runs/{fork['id']}/fork", json={"step": 1, **more})
            assert refused.status_code == 403, refused.text


async def test_a_policy_that_has_changed_is_another_one(tmp_path: Path) -> None:
    async with working(tmp_path, FIND, REFUND, text("Paid.")) as desk, await desk.key("operator") as operator:
        run = await desk.waiting()
        file = desk.folder / "policies" / "desk.yaml"
        file.write_text(POLICY.replace("  ask: [{tool: refund}]\n", ""))
        for client in (operator, desk.owner):
            refused = await client.post(f"/v1/runs/{run['id']}/fork", json={"step": 1})
            assert (refused.status_code, refused.json()["error"]["param"]) == (409, "policy")
            assert run["policy_sha256"][:12] in refused.json()["error"]["message"]
        named = {"step": 1, "policy": "desk"}
        assert (await operator.post(f"/v1/runs/{run['id']}/fork", json=named)).status_code == 403
        assert (await desk.owner.post(f"/v1/runs/{run['id']}/fork", json=named)).status_code == 201
        file.write_text(POLICY)
        assert (await operator.post(f"/v1/runs/{run['id']}/fork", json={"step": 0})).status_code == 201


@pytest.mark.parametrize("field", ["agent", "policy_sha256", "approved", "session_id", "tenant_id"])
async def test_nothing_else_of_a_run_can_be_given_to_a_fork(tmp_path: Path, field: str) -> None:
    async with working(tmp_path, FIND, REFUND) as desk:
        run = await desk.waiting()
        refused = await desk.owner.post(f"/v1/runs/{run['id']}/fork", json={"step": 1, field: "x"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)


@pytest.mark.slow
async def test_forks_of_forks_gather_no_metadata_without_end(tmp_path: Path) -> None:
    async with working(tmp_path, FIND, REFUND) as desk:
        run = (await desk.waiting())["id"]
        for number in range(16):
            body = {"step": 0, "metadata": {f"k{number}": "x"}}
            forked = await desk.owner.post(f"/v1/runs/{run}/fork", json=body)
            assert forked.status_code == 201, forked.text
            run = forked.json()["id"]
        refused = await desk.owner.post(f"/v1/runs/{run}/fork", json={"step": 0, "metadata": {"one": "more"}})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "metadata")
