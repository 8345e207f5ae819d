"""A call that cannot be repeated is told to have not happened only where it cannot happen any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.loop.perform import UNKNOWN, UNPERFORMED
from agent.models.answer_chunks import calls, text
from agent.run.journal import Claim, Journal
from agent.run.lease import Lease
from agent.store import memory_journal, sql_journal
from agent.store.sql.statement import Statement
from agent.store.sql.worker_liveness import AdvisoryPresence
from flightloop.chat import FunctionCall, ToolCall
from flightloop.events import CallsDecided, ModelCall, ToolIntent, ToolResult
from flightloop.runs import Run
from flightloop.tool import ToolContext, tool, tool_of
from guardrails.types import args_sha256
from tests.agent.conftest import Bench, Clock
from tests.security.benches import bench

MONEY = {"cents": 5}
PAYING = calls(("transfer", MONEY))
CALL = ToolCall(id="c0", function=FunctionCall(name="transfer", arguments='{"cents": 5}'))
ASKED, MADE_AGAIN = (UNKNOWN, True, "waiting_approval"), (UNPERFORMED, False, "succeeded")


@tool(effect="unsafe", reconcile="find_transfer")
def transfer(cents: int) -> str:
    """Sends money."""
    return "sent"


@tool(effect="pure")
def find_transfer(context: ToolContext) -> str | None:
    """What the bank knows of it, as long as it is still under way."""
    return None


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("server").database()
    elif request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/journal.db"
    made = Desk(tmp_path, url)
    yield made
    await made.close()


class Desk:
    """A run whose call one worker has begun, and the others that come to it; each has its own line to the journal."""

    def __init__(self, folder: Path, url: str | None) -> None:
        declared = [found for one in (transfer, find_transfer) if (found := tool_of(one))]
        self.bench: Bench = bench(folder, PAYING, text("Sent."), tools=declared)
        self.clock: Clock = self.bench.clock
        self.url = url
        self._open = [memory_journal(clock=self.clock, poll_s=0.01)] if url is None else []

    def line(self) -> Any:
        if self.url is not None:
            self._open.append(sql_journal(self.url, clock=self.clock, poll_s=0.01))
        return self._open[-1]

    async def close(self) -> None:
        for each in self._open:
            await each.close()

    async def stalled(self, journal: Journal) -> Run:
        """A run as a worker leaves it that stands still in the middle of its call."""
        self.bench.journal = journal
        run = await self.bench.start("Send it")
        claim = await claimed(journal, "first")
        decision = CallsDecided(calls=[CALL], model=ModelCall(model="m"))
        await journal.append(run.id, [decision, self.intent(run, claim)], claim.lease)
        return run

    def intent(self, run: Run, claim: Claim) -> ToolIntent:
        return ToolIntent(
            call_id=CALL.id,
            tool="transfer",
            arguments=MONEY,
            key=f"{run.id}:1:0",
            effect="unsafe",
            args_sha256=args_sha256("transfer", MONEY),
            policy_sha256=self.bench.guard.policy.sha256,
            fence=claim.lease.fence,
        )

    async def told(self, run: Run, worker: str = "last") -> tuple[Any, ...]:
        """What another worker makes of the call, and whether a person is asked when the model makes it again."""
        self.bench.journal = self.line()

        async def settled() -> bool:
            return (await self.bench.get(run)).status not in ("queued", "running")

        await self.bench.until(settled, self.bench.worker(worker))
        (result,) = [event for event in await self.bench.events(run) if isinstance(event, ToolResult)][:1]
        return result.error, result.uncertain, (await self.bench.get(run)).status


async def claimed(journal: Journal, worker: str) -> Claim:
    claim = await journal.claim(worker, 30)
    assert claim is not None
    return claim


async def test_a_call_of_a_worker_that_stands_still_may_still_happen(desk: Desk) -> None:
    run = await desk.stalled(desk.line())
    desk.clock.forward(31)
    assert await desk.told(run) == ASKED


@pytest.mark.parametrize("desk", ["sqlite", "postgresql"], indirect=True)
async def test_a_call_of_a_worker_that_has_died_did_not_happen(desk: Desk) -> None:
    journal = desk.line()
    run = await desk.stalled(journal)
    await journal.close()
    assert await desk.told(run) == MADE_AGAIN


async def test_a_call_of_a_worker_that_has_given_the_run_back_did_not_happen(desk: Desk) -> None:
    journal = desk.line()
    run = await desk.stalled(journal)
    (started,) = [event for event in await desk.bench.events(run) if event.type == "run.started"]
    await journal.release(Lease(run.id, "first", started.fence, desk.clock()))
    assert await desk.told(run) == MADE_AGAIN


async def test_a_worker_knows_that_it_is_at_its_own_call_no_more(desk: Desk) -> None:
    journal = desk.line()
    run = await desk.stalled(journal)
    desk.clock.forward(31)
    if desk.url is not None:
        await journal.close()  # its name is free for the line that goes on
    assert await desk.told(run, "first") == MADE_AGAIN


@pytest.mark.parametrize("desk", ["sqlite", "postgresql"], indirect=True)
async def test_the_death_of_a_worker_between_says_nothing_of_the_one_before(desk: Desk) -> None:
    run = await desk.stalled(desk.line())
    desk.clock.forward(31)
    between = desk.line()
    await claimed(between, "between")
    await between.close()
    assert await desk.told(run) == ASKED


@pytest.mark.parametrize("desk", ["sqlite", "postgresql"], indirect=True)
async def test_a_lock_that_went_with_its_line_alone_is_no_death(desk: Desk) -> None:
    """What a server drops of a node that stands still, or is cut off, it drops long after the node's last sign."""
    journal = desk.line()
    run = await desk.stalled(journal)
    await journal.close()
    desk.clock.forward(AdvisoryPresence.SURE_S + 5)
    assert await desk.told(run) == (ASKED if str(desk.url).startswith("postgresql") else MADE_AGAIN)


@pytest.mark.parametrize("desk", ["postgresql"], indirect=True)
async def test_neither_is_one_that_went_with_the_server(desk: Desk) -> None:
    assert desk.url is not None
    seen = AdvisoryPresence(desk.url)
    seen.appear("one")
    assert seen.sure_s() == AdvisoryPresence.SURE_S
    cut = AdvisoryPresence(desk.url)
    cut._asked(Statement("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))
    seen.appear("one")
    assert seen.sure_s() == 0
    seen.close()
    cut.close()
