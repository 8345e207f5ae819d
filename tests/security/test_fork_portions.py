"""What a fork copies comes in portions, and is nothing to anybody until it is whole; on all journals."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.loop.local_hosts import LocalHosts
from agent.models.answer_chunks import text
from agent.project.agent_spec import AgentSpec
from agent.run.journal import Idempotency
from agent.run.state import fold
from agent.store.rules import copying, forks
from agent.testing.fakes import RuleGuard, ScriptedChatModel
from flightloop.chat import FunctionCall, ToolCall
from flightloop.errors import Conflict, NotFound, StoreUnavailable
from flightloop.events import ModelCall, Replied, RunCreated, RunEnded
from flightloop.runs import Origin, Run, RunStatus, StopReason
from tests.agent.conftest import Bench, created
from tests.security.test_portions import FEW, Desk, decided, desk

__all__ = ["desk"]
STEPS = 30
KEY = Idempotency("key", "digest")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "FIRST", FEW)
    monkeypatch.setattr(forks, "MOST", FEW)
    monkeypatch.setattr(forks, "DROPPED", FEW)
    monkeypatch.setattr(copying, "TURN_S", 0.001)


async def long_run(desk: Desk, *more: Any) -> Run:
    run = (await desk.journal.create(created())).run
    lease = (await desk.claim()).lease
    for _ in range(STEPS):
        await desk.journal.append(run.id, [decided([])], lease)
    answered = [
        Replied(text="Done.", model=ModelCall(model="m")),
        RunEnded(status=RunStatus.SUCCEEDED, stop_reason=StopReason.ANSWERED),
    ]
    await desk.journal.append(run.id, more or answered, lease)
    desk.transactions.clear()
    desk.written.clear()
    return run


def fork_of(run: Run, step: int = STEPS, **fields: Any) -> RunCreated:
    return created(origin=Origin(run_id=run.id, step=step), session_id="fork", **fields)


async def copied(desk: Desk) -> set[str]:
    """Runs of which there are copies, whether the runs are there or not."""
    return {one.event.run_id for one in await desk.journal.read_all() if one.event.copied}


class Slow:
    """Of a journal's backend, what copies: it goes on behind the first portion once it may."""

    def __init__(self, backend: Any) -> None:
        self._backend, self.may = backend, asyncio.Event()
        self.write = backend.write

    async def read(self, work: Any) -> Any:
        if getattr(work, "func", None) is forks.go_on:
            await self.may.wait()
        return await self._backend.read(work)


async def test_a_long_runs_steps_are_copied_in_portions(desk: Desk) -> None:
    run = await long_run(desk)
    made, behind = await desk.meanwhile(desk.journal.create(fork_of(run, run_id="forked")))
    writing = [calls for calls in desk.transactions if calls["add_events"]]
    assert len(writing) >= STEPS // FEW
    assert desk.most("add_events") == 1
    assert [calls["add_run"] for calls in writing] == [0] * (len(writing) - 1) + [1]
    assert behind >= STEPS // FEW - 2
    events = await desk.journal.events("default", "forked")
    assert [event.seq for event in events] == list(range(1, STEPS + 2))
    assert [event.step for event in events if event.copied] == list(range(1, STEPS + 1))
    assert fold(events) == made.run == await desk.journal.get("default", "forked")
    assert (await desk.claim()).run.id == "forked"


async def test_a_fork_is_not_there_before_it_is_whole(desk: Desk) -> None:
    run = await long_run(desk)
    slow = desk.journal._copying._backend = Slow(desk.journal._backend)
    task = asyncio.create_task(desk.journal.create(fork_of(run, run_id="forked")))
    await desk.written.wait()
    assert await copied(desk) == {"forked"}
    assert [one.id for one in await desk.all_runs()] == [run.id]
    assert await desk.journal.claim("w", 30.0) is None
    for told in (desk.journal.get("default", "forked"), desk.journal.events("default", "forked")):
        with pytest.raises(NotFound):
            await told
    assert not task.done()
    slow.may.set()
    await task
    assert len(await desk.all_runs()) == 2


@pytest.mark.parametrize("swept_by", ["fork", "worker"])
async def test_what_a_process_that_died_has_copied_is_removed(desk: Desk, tmp_path: Path, swept_by: str) -> None:
    run = await long_run(desk)
    desk.left = 3
    with pytest.raises(StoreUnavailable):
        await desk.journal.create(fork_of(run, run_id="half"), KEY)
    desk.left = None
    assert await copied(desk) == {"half"}
    assert [one.id for one in await desk.all_runs()] == [run.id]
    assert await desk.journal.claim("w", 30.0) is None
    made = await desk.journal.create(fork_of(run), KEY)  # asked for again, it is made
    again = await desk.journal.create(fork_of(run), KEY)
    assert (made.replayed, again.replayed, again.run.id) == (False, True, made.run.id)
    assert await copied(desk) == {"half", made.run.id}  # somebody may still be at it
    desk.clock.forward(61)
    desk.transactions.clear()
    if swept_by == "worker":
        agent = AgentSpec(name="helper", instructions="Help.", planning=False)
        model = ScriptedChatModel([text("Done.")])
        bench = Bench(desk.journal, desk.clock, model, LocalHosts([]), RuleGuard(), agent, tmp_path)

        async def removed() -> bool:
            return "half" not in await copied(desk)

        await bench.until(removed)
        assert sum(calls["drop_events"] for calls in desk.transactions) > 1
        assert desk.most("drop_events") == 1
        desk.transactions.clear()
        await desk.journal.drop_copies()
        assert desk.transactions == []  # looking costs no write
    else:
        await desk.journal.create(fork_of(run, step=0, run_id="other"))
    assert await copied(desk) == {made.run.id}
    assert len(await desk.journal.events("default", made.run.id)) > STEPS


async def test_who_was_taken_for_dead_writes_no_more(desk: Desk) -> None:
    run = await long_run(desk)
    slow = desk.journal._copying._backend = Slow(desk.journal._backend)
    task = asyncio.create_task(desk.journal.create(fork_of(run, run_id="late")))
    await desk.written.wait()
    desk.clock.forward(61)
    await desk.journal.drop_copies()
    slow.may.set()
    with pytest.raises(StoreUnavailable, match="try again"):
        await task
    assert await copied(desk) == set()
    assert [one.id for one in await desk.all_runs()] == [run.id]


async def test_a_fork_that_cannot_be_made_leaves_nothing(desk: Desk) -> None:
    call = ToolCall(id="c", function=FunctionCall(name="pay", arguments="{}"))
    run = await long_run(desk, decided([call]))
    with pytest.raises(Conflict, match="without a result"):
        await desk.journal.create(fork_of(run, step=STEPS + 1))
    assert await copied(desk) == set()
    assert [one.id for one in await desk.all_runs()] == [run.id]
