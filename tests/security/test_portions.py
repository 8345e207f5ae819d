"""However much one tenant has to end, expire or copy: no transaction is long, and other writes come in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.loop.local_hosts import LocalHosts
from agent.project.agent_spec import AgentSpec
from agent.run.commands import cancel, interrupt, resume
from agent.run.lease import Lease
from agent.run.state import fold
from agent.store import journal, memory_journal, sql_journal
from agent.store.rules import appending, decisions
from agent.testing.fakes import RuleGuard, ScriptedChatModel
from flightloop.chat import FunctionCall, ToolCall
from flightloop.errors import Conflict, StoreUnavailable
from flightloop.events import ApprovalRequested, CallsDecided, ModelCall, Replied, RunCreated, RunEnded, ToolIntent
from flightloop.runs import Caller, Origin, Parent, Run, RunStatus, StopReason
from tests.agent.conftest import Bench, Clock, created, kinds

FEW = 4
SHA = "0" * 64


class Seen:
    """A transaction whose calls are counted by their names."""

    def __init__(self, tx: Any, calls: Counter[str]) -> None:
        self._tx, self._calls = tx, calls

    def __getattr__(self, name: str) -> Any:
        self._calls[name] += 1
        return getattr(self._tx, name)


@dataclass
class Desk:
    """A journal whose writing transactions are looked at, and may come to an end."""

    journal: Any
    clock: Clock
    transactions: list[Counter[str]] = field(default_factory=list)
    written: asyncio.Event = field(default_factory=asyncio.Event)
    left: int | None = None
    """Writes until the process dies, so to speak."""

    def look(self) -> None:
        backend = self.journal._backend
        write = backend.write

        async def seen(work: Callable[[Any], Any]) -> Any:
            if self.left is not None:
                if self.left == 0:
                    raise StoreUnavailable("the process is dead")
                self.left -= 1
            calls: Counter[str] = Counter()
            found = await write(lambda tx: work(Seen(tx, calls)))
            self.transactions.append(calls)
            self.written.set()
            return found

        backend.write = seen

    def most(self, name: str) -> int:
        return max(calls[name] for calls in self.transactions)

    async def meanwhile(self, work: Any) -> tuple[Any, int]:
        """What ``work`` gives, and how many transactions came behind the stop that another tenant raised meanwhile."""
        self.transactions.clear()
        self.written.clear()

        async def stop() -> int:
            await self.written.wait()
            await self.journal.raise_interrupt("other", "all")
            return len(self.transactions)

        done, before = await asyncio.gather(work, stop())
        return done, len(self.transactions) - before

    async def work_for(self, run: Run, lease: Lease, count: int) -> list[Run]:
        """Runs that work for one, which waits for them."""
        called = [ToolCall(id=f"c{n}", function=FunctionCall(name="ask", arguments="{}")) for n in range(count)]
        children = [child_of(run, n) for n in range(count)]
        intents = [intent(run, lease, child.run_id, child.parent) for child in children]
        await self.journal.append(run.id, [decided(called), *intents], lease, children)
        await self.journal.release(lease, RunStatus.WAITING_AGENT)
        return [await self.journal.get("default", child.run_id) for child in children]

    async def asks(self, run: Run, lease: Lease, count: int) -> None:
        """Lets it wait for a person, who has a minute."""
        called = [ToolCall(id=f"c{n}", function=FunctionCall(name="pay", arguments="{}")) for n in range(count)]
        until = self.clock() + timedelta(seconds=60)
        asked = [
            ApprovalRequested(
                approval_id=f"apr_{run.id}_{n}",
                call_id=f"c{n}",
                tool="pay",
                arguments={},
                reason="it is a lot",
                args_sha256=SHA,
                policy_sha256=SHA,
                expires_at=until,
            )
            for n in range(count)
        ]
        await self.journal.append(run.id, [decided(called), *asked], lease)
        await self.journal.release(lease, RunStatus.WAITING_APPROVAL)

    async def family(self, children: int, below: int, asking: int = 0) -> tuple[Run, list[Run], list[Run]]:
        """A run, those that work for it, and those that work for these; ``asking`` of these wait for a person each."""
        root = (await self.journal.create(created())).run
        claim = await self.claim()
        second = await self.work_for(root, claim.lease, children)
        third: list[Run] = []
        for _ in second:
            claim = await self.claim()
            third += await self.work_for(claim.run, claim.lease, below)
        for _ in range(asking):
            claim = await self.claim()
            await self.asks(claim.run, claim.lease, 2)
        self.transactions.clear()
        return root, second, third

    async def claim(self) -> Any:
        claimed = await self.journal.claim("w", 600.0)
        assert claimed is not None
        return claimed

    async def all_runs(self) -> list[Run]:
        return (await self.journal.runs("default", limit=1000)).data  # type: ignore[no-any-return]

    async def statuses(self) -> Counter[str]:
        return Counter(str(run.status) for run in await self.all_runs())


def decided(calls: list[ToolCall]) -> CallsDecided:
    return CallsDecided(calls=calls, text="", model=ModelCall(model="m"))


def intent(run: Run, lease: Lease, child: str, parent: Parent | None) -> ToolIntent:
    call_id = parent.call_id if parent else "c"
    known = {"tool": "ask", "arguments": {}, "effect": "keyed", "args_sha256": SHA, "policy_sha256": SHA}
    given = {"call_id": call_id, "key": f"{run.id}:1:{call_id}", "fence": lease.fence, "performed_by": child}
    return ToolIntent.model_validate({**known, **given})


def child_of(run: Run, number: int) -> RunCreated:
    callers = [*(run.parent.callers if run.parent else []), Caller(run_id=run.id, agent=run.agent, policy=None)]
    return created(run_id=f"{run.id}_{number}", parent=Parent(call_id=f"c{number}", callers=callers))


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    clock = Clock()
    if request.param == "memory":
        made = memory_journal(clock=clock, poll_s=0.01)
    elif request.param == "sqlite":
        made = sql_journal(f"sqlite:///{tmp_path}/journal.db", clock=clock, poll_s=0.01)
    else:
        made = sql_journal(request.getfixturevalue("server").database(), clock=clock, poll_s=0.01)
    monkeypatch.setattr(appending, "MOST", FEW)
    monkeypatch.setattr(decisions, "EXPIRING", FEW)
    monkeypatch.setattr(journal, "REST_S", 0.001)
    desk = Desk(made, clock)
    desk.look()
    yield desk
    await made.close()


# -- approvals ---


async def test_what_is_due_expires_in_portions(desk: Desk) -> None:
    waiting = []
    for _ in range(3):
        run = (await desk.journal.create(created())).run
        await desk.asks(run, (await desk.claim()).lease, 5)
        waiting.append(run)
    assert await desk.journal.expire_approvals() == []
    desk.clock.forward(61)
    expired, behind = await desk.meanwhile(desk.journal.expire_approvals())
    assert Counter(one.run_id for one in expired) == {run.id: 5 for run in waiting}
    assert {one.status for one in expired} == {"expired"}
    assert await desk.journal.pending_approvals("default") == 0
    assert await desk.statuses() == {"queued": 3}
    for run in waiting:
        events = await desk.journal.events("default", run.id)
        assert kinds(events)[-6:] == ["approval.decided"] * 5 + ["run.resumed"]
    assert desk.most("save_approval") == FEW
    assert desk.most("save_run") == desk.most("count_pending") == 2  # once a run, however many of its own are due
    assert desk.most("run_approvals") == 0
    assert behind >= 2


# -- forks ---


async def test_a_forks_origin_is_read_before_its_transaction(desk: Desk) -> None:
    run = (await desk.journal.create(created())).run
    lease = (await desk.claim()).lease
    for _ in range(30):
        await desk.journal.append(run.id, [decided([])], lease)
    answered = [
        Replied(text="Done.", model=ModelCall(model="m")),
        RunEnded(status=RunStatus.SUCCEEDED, stop_reason=StopReason.ANSWERED),
    ]
    await desk.journal.append(run.id, answered, lease)
    desk.transactions.clear()
    stop = await desk.journal.raise_interrupt("default", "agent", "another")
    forked = (await desk.journal.create(created(origin=Origin(run_id=run.id, step=30)))).run
    made = desk.transactions[-1]
    assert (made["events"], made["add_run"], made["add_events"]) == (0, 1, 1)  # seen whole, or not at all
    events = await desk.journal.events("default", forked.id)
    assert [event.seq for event in events] == list(range(1, 32))
    assert [event.step for event in events if event.copied] == list(range(1, 31))
    assert fold(events) == forked == await desk.journal.get("default", forked.id)
    assert forked.epoch == stop.epoch  # as it was when the run was written, whatever was read before


# -- families ---


async def test_a_large_family_is_cancelled_in_portions(desk: Desk) -> None:
    root, second, third = await desk.family(3, 10, asking=7)
    run, behind = await desk.meanwhile(cancel(desk.journal, "default", root.id, "ann"))
    assert run.status == "cancelled"
    assert await desk.statuses() == {"cancelled": 34}
    assert await desk.journal.pending_approvals("default") == 0
    # Every run is written once or twice, and each tells the one above it.
    assert desk.most("save_run") <= 2 * FEW + 3
    assert desk.most("save_approval") <= FEW
    assert behind >= 3
    # All that those below have used is in the sums: they were told first.
    assert (await desk.journal.get("default", root.id)).delegated.steps == len(second) + 7
    for above, asking in zip(second, (7, 0, 0), strict=True):
        assert (await desk.journal.get("default", above.id)).delegated.steps == asking
    [told] = [one for one in await desk.journal.events("default", third[0].id) if one.type == "run.cancel_requested"]
    assert told.by == f"run {root.id}, which has ended"


async def test_a_run_with_more_approvals_than_a_portion_has_is_one_by_itself(desk: Desk) -> None:
    root, _, (first, asking, _) = await desk.family(1, 3)
    held = await desk.claim()
    assert held.run.id == first.id
    claimed = await desk.claim()
    assert claimed.run.id == asking.id
    await desk.asks(claimed.run, claimed.lease, 3 * FEW)
    await desk.journal.release(held.lease)
    desk.transactions.clear()
    await cancel(desk.journal, "default", root.id, "ann")
    assert await desk.statuses() == {"cancelled": 5}
    assert await desk.journal.pending_approvals("default") == 0
    [alone] = [calls for calls in desk.transactions if calls["save_approval"]]
    assert (alone["save_approval"], alone["save_run"]) == (3 * FEW, 2)


async def half_cancelled(desk: Desk, children: int, below: int, asking: int = 0) -> Run:
    """The root of a family, the process that cancelled it having died behind the first two portions."""
    root, _, _ = await desk.family(children, below, asking)
    desk.left = 2
    run = await cancel(desk.journal, "default", root.id, "ann")
    desk.left = None
    assert run.status == "cancelled"
    cancelled = (await desk.statuses())["cancelled"]
    assert 1 < cancelled < 1 + children * (1 + below)
    return run


async def test_who_comes_after_a_process_that_died_goes_on_cancelling(desk: Desk) -> None:
    await half_cancelled(desk, 2, 8, asking=16)
    desk.transactions.clear()
    await desk.journal.cancel_remaining_children()
    assert await desk.statuses() == {"cancelled": 19}
    assert await desk.journal.pending_approvals("default") == 0
    assert desk.most("save_run") <= 2 * FEW + 3
    before = len(desk.transactions)
    await desk.journal.cancel_remaining_children()
    assert len(desk.transactions) == before  # looking costs no write


async def test_a_worker_goes_on_cancelling_by_itself(desk: Desk, tmp_path: Path) -> None:
    await half_cancelled(desk, 2, 8, asking=16)
    agent = AgentSpec(name="helper", instructions="Help.", planning=False)
    bench = Bench(desk.journal, desk.clock, ScriptedChatModel([]), LocalHosts([]), RuleGuard(), agent, tmp_path)

    async def ended() -> bool:
        return await desk.statuses() == {"cancelled": 19}

    await bench.until(ended)
    assert bench.model.requests == []


async def test_nobody_begins_a_run_below_one_that_is_cancelled(desk: Desk) -> None:
    """Those of others begin meanwhile, although they were queued later."""
    await half_cancelled(desk, 2, 8)
    assert (await desk.statuses())["queued"] > FEW
    other = (await desk.journal.create(created(tenant_id="other"))).run
    assert (await desk.claim()).run.id == other.id
    assert await desk.journal.claim("w", 600.0) is None
    assert await desk.statuses() == {"cancelled": 19}
    assert desk.most("save_run") <= 2 * FEW + 3


async def test_who_works_below_a_cancelled_run_sees_it_with_the_next_write(desk: Desk) -> None:
    root, (_, second), third = await desk.family(2, 8)
    held = [await desk.claim() for _ in third][-1]
    assert held.run.parent.run_id == second.id
    desk.left = 1
    await cancel(desk.journal, "default", root.id, "ann")
    desk.left = None
    told = await desk.journal.cancelled("w")
    assert told
    assert held.run.id not in told
    child = child_of(held.run, 0)
    written = await desk.journal.append(held.run.id, [decided([])], held.lease, [child])
    assert [event.type for event in written.events] == ["decision.calls"]
    assert written.state.cancel_requested
    assert (await desk.journal.get("default", child.run_id)).status == "cancelled"


async def test_a_run_is_resumed_once_those_below_it_have_ended(desk: Desk) -> None:
    root, _, _ = await desk.family(2, 8, asking=16)
    desk.left = 2  # for the stop itself, and what follows at once
    assert (await interrupt(desk.journal, "default", root.id)).status == "interrupted"
    desk.left = None
    with pytest.raises(Conflict, match="still being cancelled"):
        await resume(desk.journal, "default", root.id, "ann")
    await desk.journal.cancel_remaining_children()
    assert await desk.statuses() == {"interrupted": 1, "cancelled": 18}
    await resume(desk.journal, "default", root.id, "ann")
    assert (await desk.claim()).run.id == root.id
