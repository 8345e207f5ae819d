"""Nobody decides alone, or about their own run, where the policy wants others. Over the API, with a whole loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.api import auth, create_app
from agent.models.answer_chunks import calls, text
from agent.run.journal import all_events
from agent.testing.api import KEY, OTHER_KEY
from flightloop.runs import Run
from flightloop.tool import Tool, tool, tool_of
from tests.agent.conftest import Bench
from tests.mcp_serving import LEGACY, MODERN, connected, desk_of, serving

POLICY = """
name: default
version: "1"
tools:
  provenance: allow
  allow: {support: [pay]}
  approval: {not_starter: true}
  ask: [{tool: pay, argument: amount, above: 10, approval: {persons: 2}}, {tool: pay}]
"""
RUN = {"agent": "support", "input": "Please pay it."}
NOTE = "started the run, and no other key of the tenant may approve"


class Place:
    """A desk whose tool pays, an API before it, and holders of keys."""

    def __init__(self, folder: Path, stack: AsyncExitStack, amount: int, policy: str) -> None:
        self.paid: list[int] = []
        self.desk: Bench
        self.desk, self.deps = desk_of(
            folder, calls(("pay", {"amount": amount})), text("Bye."), tools=[self._paying()], policy=policy
        )
        self._stack = stack
        self._app = create_app(self.deps)

    def _paying(self) -> Tool:
        @tool(effect="keyed")
        def pay(amount: int) -> str:
            """Pays."""
            self.paid.append(amount)
            return "paid"

        return tool_of(pay)  # type: ignore[return-value]

    async def of(self, key: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        client = httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers={"authorization": f"Bearer {key}"}
        )
        return await self._stack.enter_async_context(client)

    async def holder(self, name: str, role: str = "approver", **fields: Any) -> httpx.AsyncClient:
        made = await (await self.of(KEY)).post("/v1/keys", json={"name": name, "role": role, **fields})
        assert made.status_code == 201, made.text
        return await self.of(made.json()["key"])

    async def waiting(self, starter: httpx.AsyncClient) -> tuple[Run, str]:
        """A run that waits for its approval, started by this holder."""
        answer = await starter.post("/v1/runs", json=RUN)
        assert answer.status_code == 201, answer.text
        run = await self.desk.work(Run.model_validate(answer.json()))
        assert run.status == "waiting_approval"
        (approval,) = (await self.desk.journal.approvals("default", status="pending")).data
        return run, approval.id


@pytest.fixture
async def stack(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncExitStack]:
    monkeypatch.setattr(auth, "FRESH_S", 0.0)
    async with AsyncExitStack() as made:
        yield made


async def said(who: httpx.AsyncClient, approval: str, decision: str = "approve") -> tuple[int, str]:
    answer = await who.post(f"/v1/approvals/{approval}", json={"decision": decision, "reason": "seen"})
    document = answer.json()
    return answer.status_code, document.get("status") or document["error"]["message"]


async def test_large_sums_take_two_persons_and_none_of_them_began_it(tmp_path: Path, stack: AsyncExitStack) -> None:
    place = Place(tmp_path, stack, 50, POLICY)
    ann, bob, eve = await place.holder("ann", "operator"), await place.holder("bob"), await place.holder("eve", "admin")
    run, approval = await place.waiting(ann)
    assert (await ann.get(f"/v1/runs/{run.id}")).json()["started_by"]["name"] == "key:ann"
    status, told = await said(ann, approval)
    assert (status, "key:ann started run" in told) == (403, True)
    assert await said(bob, approval) == (200, "pending")
    assert (await place.desk.get(run)).status == "waiting_approval"
    shown = (await ann.get(f"/v1/approvals/{approval}")).json()
    assert (shown["needed"], shown["not_starter"], [one["by"] for one in shown["decisions"]]) == (2, True, ["key:bob"])
    assert (await said(bob, approval))[0] == 409
    assert place.paid == []
    assert await said(eve, approval) == (200, "approved")
    assert (await place.desk.work(run)).status == "succeeded"
    assert place.paid == [50]
    told_events = [event.type for event in await all_events(place.desk.journal, "default", run.id)]
    assert [one for one in told_events if one.startswith("approval")] == [
        "approval.requested", "approval.given", "approval.decided"
    ]  # fmt: skip
    audit = (await eve.get("/v1/audit", params={"act": "approval"})).json()["data"]
    assert [(one["actor"]["name"], one["details"]["decision"]) for one in audit] == [
        ("key:bob", "given"),
        ("key:eve", "approved"),
    ]


async def test_two_keys_of_one_name_are_one_person(tmp_path: Path, stack: AsyncExitStack) -> None:
    place = Place(tmp_path, stack, 50, POLICY)
    ann = await place.holder("ann", "operator")
    bob, again, similar = await place.holder("bob"), await place.holder("bob"), await place.holder("BOB ")
    namesake = await place.holder("Ann", "admin")
    run, approval = await place.waiting(ann)
    assert (await said(namesake, approval))[0] == 403
    assert await said(bob, approval) == (200, "pending")
    for who in (again, similar):
        assert (await said(who, approval))[0] == 409
    assert (await place.desk.get(run)).status == "waiting_approval"
    assert await said(await place.of(KEY), approval) == (200, "approved")


async def test_the_key_of_the_deployment_counts_once(tmp_path: Path, stack: AsyncExitStack) -> None:
    place = Place(tmp_path, stack, 50, POLICY)
    ann, namesake, bob = await place.holder("ann", "operator"), await place.holder("default"), await place.holder("bob")
    _, approval = await place.waiting(ann)
    assert await said(await place.of(KEY), approval) == (200, "pending")
    assert (await said(namesake, approval))[0] == 409
    assert await said(bob, approval) == (200, "approved")


async def test_who_may_not_decide_decides_nothing(tmp_path: Path, stack: AsyncExitStack) -> None:
    """A viewer, the end user with a bound key, an approver and the owner of another tenant."""
    place = Place(tmp_path, stack, 50, POLICY)
    ann = await place.holder("ann", "operator")
    _, approval = await place.waiting(ann)
    viewer, phone = await place.holder("looker", "viewer"), await place.holder("phone", "operator", subject="17")
    far = await place.holder("far", tenant_id="other")
    for who, status in ((viewer, 403), (phone, 403), (far, 404), (await place.of(OTHER_KEY), 404)):
        for decision in ("approve", "deny"):
            assert (await said(who, approval, decision))[0] == status
    for who, status in ((phone, 403), (far, 404)):
        assert (await who.get(f"/v1/approvals/{approval}")).status_code == status
    assert (await place.desk.journal.approval("default", approval)).decisions == []


async def test_an_approver_starts_and_stops_nothing(tmp_path: Path, stack: AsyncExitStack) -> None:
    place = Place(tmp_path, stack, 5, POLICY)
    ann, bob = await place.holder("ann", "operator"), await place.holder("bob")
    run, approval = await place.waiting(ann)
    for path, body in (
        ("/v1/runs", RUN),
        (f"/v1/runs/{run.id}/cancel", {}),
        (f"/v1/runs/{run.id}/fork", {"step": 0}),
        (f"/v1/runs/{run.id}/feedback", {"score": 5, "resolved": True}),
        ("/v1/interrupts", {"scope": "all"}),
        ("/v1/chat/completions", {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/keys", {"name": "x"}),
    ):
        assert (await bob.post(path, json=body)).status_code == 403, path
    assert await said(bob, approval) == (200, "approved")


async def test_alone_its_owner_decides_and_it_is_on_record(tmp_path: Path, stack: AsyncExitStack) -> None:
    place = Place(tmp_path, stack, 5, POLICY)
    owner = await place.of(KEY)
    run, approval = await place.waiting(owner)
    assert await said(owner, approval) == (200, "approved")
    assert (await place.desk.work(run)).status == "succeeded"
    (record,) = (await owner.get("/v1/audit", params={"act": "approval"})).json()["data"]
    assert (record["details"]["note"], record["actor"]["id"]) == (NOTE, "own")


async def test_a_person_who_comes_meanwhile_ends_the_exception(tmp_path: Path, stack: AsyncExitStack) -> None:
    place = Place(tmp_path, stack, 5, POLICY)
    owner = await place.of(KEY)
    _, approval = await place.waiting(owner)
    bob = await place.holder("bob")
    assert (await said(owner, approval))[0] == 403
    assert await said(bob, approval) == (200, "approved")


async def test_one_person_who_denies_is_enough(tmp_path: Path, stack: AsyncExitStack) -> None:
    place = Place(tmp_path, stack, 50, POLICY)
    ann, bob, eve = await place.holder("ann", "operator"), await place.holder("bob"), await place.holder("eve")
    run, approval = await place.waiting(ann)
    await said(bob, approval)
    assert await said(eve, approval, "deny") == (200, "denied")
    assert (await place.desk.work(run)).status == "succeeded"
    assert place.paid == []


async def test_an_mcp_user_is_not_asked_about_their_own_run(tmp_path: Path, stack: AsyncExitStack) -> None:
    from tests.security.test_mcp_serving import Approving, begin

    place, user = Place(tmp_path, stack, 5, POLICY), Approving()
    async with serving(place.deps) as url, connected(url, mode=MODERN, elicitation_callback=user) as client:
        run_id = await begin(client)
        await place.desk.work(await place.desk.journal.get("default", run_id))
        answer = (await client.call_tool("run_result", {"run_id": run_id})).structured_content
        assert answer is not None
        assert len(answer["approvals"]) == 1
        assert user.asked == []


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_an_mcp_user_is_not_asked_about_their_own_run_where_others_decide(
    tmp_path: Path, stack: AsyncExitStack, mode: str
) -> None:
    from tests.security.test_mcp_serving import Approving, begin

    place = Place(tmp_path, stack, 5, POLICY)
    user, bob = Approving(), await place.holder("bob")
    async with serving(place.deps) as url, connected(url, mode=mode, elicitation_callback=user) as client:
        run_id = await begin(client)
        await place.desk.work(await place.desk.journal.get("default", run_id))
        answer = (await client.call_tool("run_result", {"run_id": run_id})).structured_content
        assert answer is not None
        (pending,) = answer["approvals"]
        assert user.asked == []
        assert await said(bob, pending["approval_id"]) == (200, "approved")
        await place.desk.work(await place.desk.journal.get("default", run_id))
    assert place.paid == [5]


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_an_mcp_user_approves_once_and_is_not_asked_again(
    tmp_path: Path, stack: AsyncExitStack, mode: str
) -> None:
    from tests.security.test_mcp_serving import Approving, begin

    place = Place(tmp_path, stack, 50, POLICY.replace("  approval: {not_starter: true}\n", ""))
    user, bob = Approving(), await place.holder("bob")
    async with serving(place.deps) as url, connected(url, mode=mode, elicitation_callback=user) as client:
        run_id = await begin(client)
        await place.desk.work(await place.desk.journal.get("default", run_id))
        for _ in range(2):
            answer = (await client.call_tool("run_result", {"run_id": run_id})).structured_content
            assert answer is not None
            (pending,) = answer["approvals"]
            assert (pending["needed"], pending["approved_by"]) == (2, ["key:default"])
        assert len(user.asked) == 1
        assert "who decides: 2 persons must approve" in user.asked[0]
        assert await said(bob, pending["approval_id"]) == (200, "approved")
        await place.desk.work(await place.desk.journal.get("default", run_id))
    assert place.paid == [50]
