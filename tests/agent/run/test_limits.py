"""Limits over time in the transaction of the intent: one suite over every journal."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.run.journal import Appended, Claim, Journal
from agent.store import memory_journal, sql_journal
from flightloop.chat import FunctionCall, ToolCall
from flightloop.events import CallsDecided, ModelCall, RunCreated, RunEnded, ToolIntent, ToolResult
from flightloop.runs import Budget, Caller, Origin, Parent, Run, RunStatus, StopReason
from guardrails.limit_rules import LONGEST_DAYS
from guardrails.limit_share import LimitShare

DAY_S = 86_400.0


def created(**fields: Any) -> RunCreated:
    return RunCreated.model_validate({"agent": "a", "session_id": "s", "input": "hi", "budget": Budget()} | fields)


def share(amount: float | str, **fields: Any) -> LimitShare:
    """What a refund of order 7 adds to a limit of 100."""
    known: dict[str, Any] = {
        "place": 0,
        "tool": "refund",
        "tools": ("refund",),
        "measure": "sum amount",
        "per": (("order_id", "7"),),
        "seconds": None,
        "maximum": Decimal(100),
    }
    return LimitShare(**(known | fields), amount=Decimal(str(amount)))


def intent(call_id: str, tool: str = "refund") -> ToolIntent:
    return ToolIntent(
        call_id=call_id,
        tool=tool,
        arguments={"order_id": 7},
        key=f"k:{call_id}",
        effect="unsafe",
        args_sha256="x",
        policy_sha256="p",
        fence=1,
    )


def result(call_id: str, *, ok: bool = True, uncertain: bool = False) -> ToolResult:
    return ToolResult(call_id=call_id, tool="refund", ok=ok, uncertain=uncertain)


async def claimed(journal: Journal, **fields: Any) -> Claim:
    await journal.create(created(**fields))
    claim = await journal.claim("w", 30)
    assert claim is not None
    return claim


async def begin(journal: Journal, claim: Claim, call_id: str, *shares: LimitShare) -> Appended:
    return await journal.append(claim.run.id, [intent(call_id)], claim.lease, (), [(call_id, one) for one in shares])


async def used(journal: Journal, run: Run, one: LimitShare | None = None, call_id: str = "") -> Decimal:
    return (await journal.limits.used(run, call_id, [one or share(1)]))[0]


async def test_four_refunds_of_99_do_not_pass_a_limit_of_100(journal: Journal) -> None:
    claims = [await claimed(journal, session_id=f"s{n}") for n in range(4)]
    written = await asyncio.gather(*(begin(journal, claim, "c", share(99)) for claim in claims))
    assert sorted(len(each.refused) for each in written) == [0, 1, 1, 1]
    assert sorted(len(each.events) for each in written) == [0, 0, 0, 1]
    assert await used(journal, claims[0].run) == 99


async def test_calls_of_one_transaction_share_the_room(journal: Journal) -> None:
    claim = await claimed(journal)
    shares = [(call_id, share(40)) for call_id in ("c1", "c2", "c3")]
    events = [intent("c1"), intent("c2"), intent("c3")]
    written = await journal.append(claim.run.id, events, claim.lease, (), shares)
    assert written.refused == {"c3"}
    assert [event.call_id for event in written.events if isinstance(event, ToolIntent)] == ["c1", "c2"]
    assert written.state.run.usage.tool_calls == 2


async def test_what_failed_for_sure_gives_its_share_back(journal: Journal) -> None:
    claim = await claimed(journal)
    for call_id, ended, left in (
        ("failed", result("failed", ok=False), 0),
        ("unknown", result("unknown", ok=False, uncertain=True), 30),
        ("made", result("made"), 60),
    ):
        await begin(journal, claim, call_id, share(30))
        await journal.append(claim.run.id, [ended], claim.lease)
        assert await used(journal, claim.run) == left
    await begin(journal, claim, "open", share(30))
    await journal.append(claim.run.id, [RunEnded(status=RunStatus.FAILED, stop_reason=StopReason.ERROR)], claim.lease)
    assert await used(journal, claim.run) == 90
    assert await used(journal, claim.run, call_id="open") == 60


async def test_an_approved_sum_may_pass_the_limit_and_only_that_sum(journal: Journal) -> None:
    one, two = await claimed(journal, session_id="s1"), await claimed(journal, session_id="s2")
    await begin(journal, one, "c", share(90))
    approved = share(99, used=Decimal(90))
    assert not (await begin(journal, one, "c2", approved)).refused
    assert (await begin(journal, two, "c", approved)).refused  # 189 are used by now, not the 90 that a person saw
    assert await used(journal, two.run) == 189


async def test_a_call_counts_once(journal: Journal) -> None:
    claim = await claimed(journal)
    await begin(journal, claim, "c", share(60))
    assert not (await begin(journal, claim, "c", share(60))).refused
    assert await used(journal, claim.run) == 60


async def test_windows_pass(journal: Journal, clock: Any) -> None:
    claim = await claimed(journal)
    rolling, daily = share(60, seconds=DAY_S), share(60, per=(("day", None),))
    clock.forward(DAY_S / 2)
    await begin(journal, claim, "c1", rolling, daily)
    assert (await begin(journal, claim, "c2", rolling)).refused
    assert (await begin(journal, claim, "c2", daily)).refused
    clock.forward(DAY_S / 2)
    claim = await claimed(journal, session_id="tomorrow")
    assert (await begin(journal, claim, "c2", rolling)).refused
    assert not (await begin(journal, claim, "c3", daily)).refused
    clock.forward(DAY_S / 2)
    assert (await used(journal, claim.run, rolling), await used(journal, claim.run, daily)) == (0, 60)


async def test_a_longer_window_sees_what_a_shorter_one_has_counted(journal: Journal, clock: Any) -> None:
    claim = await claimed(journal)
    await begin(journal, claim, "c1", share(60, seconds=60.0))
    clock.forward(61)
    claim = await claimed(journal, session_id="later")
    await begin(journal, claim, "c2", share(40, seconds=60.0))
    daily, forever = share(1, seconds=DAY_S), share(1)
    assert (await used(journal, claim.run, daily), await used(journal, claim.run, forever)) == (100, 100)
    assert (await begin(journal, claim, "c3", daily)).refused


async def test_limits_of_the_same_calls_count_them_once_each(journal: Journal) -> None:
    claim = await claimed(journal)
    short, long = share(60, seconds=60.0), share(60, maximum=Decimal(500))
    await begin(journal, claim, "c1", short, long)
    assert (await used(journal, claim.run, short), await used(journal, claim.run, long)) == (60, 60)
    other = share(60, tool="pay", tools=("pay", "refund"))
    assert await used(journal, claim.run, other) == 60


async def test_a_call_that_others_perform_counts_once_in_each_of_its_limits(journal: Journal) -> None:
    run = (await claimed(journal)).run
    per_order, all_orders = share(60), share(60, per=(), maximum=Decimal(150))
    for call_id, refused in (("c1", []), ("c2", ["c2"])):
        shares = [(call_id, per_order), (call_id, all_orders)]
        assert sorted(await journal.limits.take(run, shares)) == refused
        assert await journal.limits.used(run, "", [per_order, all_orders]) == [60, 60]


async def test_tenants_and_sessions_are_apart_and_forks_are_not(journal: Journal) -> None:
    per_session = share(60, per=(("session", None),))
    claim = await claimed(journal)
    call = ToolCall(id="c1", function=FunctionCall(name="refund", arguments="{}"))
    await journal.append(
        claim.run.id,
        [CallsDecided(calls=[call], model=ModelCall(model="m")), intent("c1"), result("c1")],
        claim.lease,
        (),
        [("c1", per_session)],
    )
    origin = Origin(run_id=claim.run.id, step=1)
    fork = (await journal.create(created(session_id="fork", origin=origin))).run
    other = (await journal.create(created(session_id="other"))).run
    tenant = (await journal.create(created(tenant_id="b"))).run
    assert [await used(journal, run, per_session) for run in (fork, other, tenant)] == [60, 0, 0]
    assert await used(journal, tenant) == 0


async def test_the_sub_run_of_a_refused_call_is_not_created(journal: Journal) -> None:
    claim = await claimed(journal)
    run = claim.run
    caller = Caller(run_id=run.id, agent="a")
    parent = Parent(call_id="c", callers=[caller])
    child = created(run_id="run_child", agent="b", session_id="child", parent=parent)
    events = [intent("c").model_copy(update={"performed_by": "run_child"})]
    await begin(journal, claim, "before", share(60))
    written = await journal.append(run.id, events, claim.lease, [child], [("c", share(60))])
    assert written.refused == {"c"}
    assert (await journal.runs("default", parent=run.id)).data == []


async def test_calls_of_past_windows_are_forgotten(tmp_path: Any, clock: Any) -> None:
    journal = sql_journal(f"sqlite:///{tmp_path}/journal.db", clock=clock, poll_s=0.01)
    claim = await claimed(journal)
    for number in range(5):
        await begin(journal, claim, f"c{number}", share(1, seconds=60.0))
    await begin(journal, claim, "kept", share(1, per=()))
    clock.forward(LONGEST_DAYS * DAY_S + 1)
    await begin(journal, claim, "next", share(1, seconds=60.0))
    with sqlite3.connect(f"{tmp_path}/journal.db") as database:
        left = database.execute("SELECT call_id FROM counted_calls ORDER BY number").fetchall()
    await journal.close()
    assert left == [("kept",), ("next",)]


async def test_what_was_counted_survives_the_process(tmp_path: Any, clock: Any) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    journal = sql_journal(url, clock=clock, poll_s=0.01)
    claim = await claimed(journal)
    await begin(journal, claim, "c", share("0.1"))
    await begin(journal, claim, "d", share("0.2"))
    await journal.close()
    again = sql_journal(url, clock=clock, poll_s=0.01)
    assert await used(again, claim.run) == Decimal("0.3")
    await again.close()


# -- interleavings ---


@dataclass
class _Call:
    run: Claim
    call_id: str
    share: LimitShare
    """As it was when the call was checked."""
    at: datetime = datetime.min
    counts: bool = False
    open: bool = False


def limit(order: str, seconds: float | None, amount: Decimal = Decimal(1)) -> LimitShare:
    """A limit of an order, forever or within a window. Both add up the same calls."""
    return share(amount, per=(("order_id", order),), seconds=seconds)


class Interleavings(RuleBasedStateMachine):
    """Runs check, begin and end calls in any order. The journal never lets a sum pass what was allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.folder = TemporaryDirectory()
        self.journal = self.opened()
        self.begun: list[_Call] = []
        self.checked: list[_Call] = []
        self.number = 0
        self.runs = [self.do(claimed(self.journal, session_id=f"s{n}")) for n in range(3)]

    def opened(self) -> Any:
        return memory_journal(clock=lambda: self.now)

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def used(self, one: LimitShare) -> Decimal:
        """What should be used of a limit."""
        since = self.now - timedelta(days=9 if one.seconds is None else 0, seconds=one.seconds or 0)
        counted = [call for call in self.begun if call.counts and call.share.per == one.per]
        same = [call for call in counted if call.at > since]
        return sum((call.share.amount for call in same), Decimal(0))

    @rule(
        run=st.integers(0, 2),
        order=st.sampled_from(["7", "8"]),
        amount=st.decimals("0.01", "60", places=2),
        seconds=st.sampled_from([None, 60.0]),
    )
    def check(self, run: int, order: str, amount: Decimal, seconds: float | None) -> None:
        """The guard's ruling: it allows what fits by what is used now. A person may approve the rest."""
        self.number += 1
        one = limit(order, seconds, amount)
        seen = self.do(self.journal.limits.used(self.runs[run].run, "", [one]))[0]
        assert seen == self.used(one)
        self.checked.append(_Call(self.runs[run], f"c{self.number}", one.with_used(seen)))

    @precondition(lambda self: self.checked)
    @rule(which=st.integers(0, 99), approved=st.booleans())
    def begin(self, which: int, approved: bool) -> None:
        call = self.checked.pop(which % len(self.checked))
        if call.share.exceeds and not approved:
            return
        written = self.do(begin(self.journal, call.run, call.call_id, call.share))
        fits = self.used(call.share) + call.share.amount <= call.share.bound
        assert bool(written.refused) is not fits
        if fits:
            call.at, call.counts, call.open = self.now, True, True
            self.begun.append(call)

    @precondition(lambda self: any(call.open for call in self.begun))
    @rule(which=st.integers(0, 99), outcome=st.sampled_from(["ok", "failed", "uncertain"]))
    def end(self, which: int, outcome: str) -> None:
        waiting = [call for call in self.begun if call.open]
        call = waiting[which % len(waiting)]
        ended = result(call.call_id, ok=outcome == "ok", uncertain=outcome == "uncertain")
        self.do(self.journal.append(call.run.run.id, [ended], call.run.lease))
        call.open, call.counts = False, outcome != "failed"

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def counts(self) -> None:
        for order in ("7", "8"):
            for seconds in (None, 60.0):
                one = limit(order, seconds)
                assert self.do(self.journal.limits.used(self.runs[0].run, "", [one])) == [self.used(one)]

    def teardown(self) -> None:
        self.do(self.journal.close())
        self.loop.close()
        self.folder.cleanup()


class WithProcesses(Interleavings):
    """The same on SQLite, where one process follows another."""

    def opened(self) -> Any:
        return sql_journal(f"sqlite:///{Path(self.folder.name)}/journal.db", clock=lambda: self.now)

    @rule()
    def restart(self) -> None:
        before, self.journal = self.journal, self.opened()
        self.do(before.close())


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestWithProcesses = WithProcesses.TestCase
TestWithProcesses.settings = settings(max_examples=8, stateful_step_count=25, deadline=None)
