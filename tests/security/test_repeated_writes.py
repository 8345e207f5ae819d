"""A write that its session has made is not made again unasked, however much was done since; on all journals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from agent.loop.local_hosts import LocalHosts
from agent.loop.perform import ELSEWHERE
from agent.models.answer_chunks import calls, text
from agent.project.subagent import tool_name
from agent.run import past
from agent.run.past import read_past
from flightloop.content import text_of
from flightloop.events import ToolResult
from flightloop.runs import Origin, Run, RunStatus
from flightloop.tool import ToolContext, ToolRefused, tool
from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.policy import Policy, parse_policy
from guardrails.types import Checked, Ruling
from tests.agent.conftest import UNTRACED, clock, created, journal, make_bench
from tests.agent.families import agent, family_of
from tools.host import ToolOutcome, Unsure

__all__ = ["clock", "journal", "make_bench"]
done: list[str] = []
settled: list[asyncio.Event] = []
SINCE = 24
"""Runs after the write: more than one would read to find it."""


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()
    settled[:] = [asyncio.Event()]


@tool(effect="keyed")
def pay(to: str) -> str:
    """Pays a bill."""
    done.append(to)
    return f"{to} was paid"


@tool(effect="keyed")
async def refund(order: int, amount: float = 10, note: str | None = None, why: str = "none") -> str:
    """Pays an amount back."""
    done.append(f"{order}: {amount:g}")
    return "paid back"


@tool(effect="keyed")
async def settle(bill: int) -> str:
    """Settles a bill."""
    done.append(f"bill {bill}")
    await settled[0].wait()
    return "settled"


@tool(effect="keyed", permissions=("network",), hosts=("bank.example:443",))
def wire(to: str) -> str:
    """Wires money."""
    done.append(to)
    return "wired"


@tool(effect="pure")
def look(day: int) -> str:
    """What happened on a day."""
    return f"nothing on day {day}"


PAY, LOOK = ("pay", {"to": "Ada"}), ("look", {"day": 3})


@pytest.fixture
def make_office(make_bench: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *script, **spec: make_bench(
        script, [pay, look, refund, settle, wire], guard=Guard(spec.pop("policy", UNTRACED)), **spec
    )


async def test_after_many_runs_of_the_session(make_office: Callable[..., Any]) -> None:
    bench = make_office(calls(PAY), text("Ada was paid."), *[calls(LOOK), text("Nothing.")] * SINCE, calls(PAY))
    await bench.work(await bench.start("Pay Ada", session_id="s"))
    for _ in range(SINCE):
        await bench.work(await bench.start("What happened?", session_id="s"))
    run = await bench.work(await bench.start("And now?", session_id="s"))
    assert (run.status, done) == ("waiting_approval", ["Ada"])


async def test_after_many_runs_for_the_same_one(make_bench: Callable[..., Any]) -> None:
    desk = agent("desk", "clerk", budget={"steps": 4 * SINCE, "tokens": 1_000_000})
    clerk = agent("clerk", tools=["pay", "look"])
    task = calls((tool_name("clerk"), {"task": "See to it"}))
    looks = [task, calls(LOOK), text("Nothing.")] * SINCE
    script = [task, calls(PAY), text("Ada was paid."), *looks, task, calls(PAY)]
    bench = family_of(make_bench(script), [desk, clerk], [pay, look], guards=Guard)
    run = await bench.start("Pay Ada", agent="desk")

    async def asks() -> bool:
        return bool((await bench.journal.runs(run.tenant_id, status=RunStatus.WAITING_APPROVAL)).data)

    await bench.until(asks)
    assert done == ["Ada"]


async def test_in_a_fork(make_office: Callable[..., Any]) -> None:
    bench = make_office(calls(LOOK), calls(PAY), text("Ada was paid."), calls(PAY))
    run = await bench.work(await bench.start("Pay Ada"))
    forked = await bench.work(await fork(bench, run, step=1))
    assert forked.session_id != run.session_id
    assert (forked.status, done) == ("waiting_approval", ["Ada"])


async def test_in_another_fork_of_the_same_run(make_office: Callable[..., Any]) -> None:
    bench = make_office(calls(LOOK), text("Nothing."), calls(PAY), text("Ada was paid."), calls(PAY))
    run = await bench.work(await bench.start("Pay Ada"))
    first = await bench.work(await fork(bench, run, step=1, session_id="first"))
    second = await bench.work(await fork(bench, run, step=1, session_id="second"))
    assert (first.status, second.status, done) == ("succeeded", "waiting_approval", ["Ada"])


@pytest.mark.parametrize("payer", [0, 1])
async def test_in_the_twentieth_fork_of_a_fork(make_office: Callable[..., Any], payer: int) -> None:
    looks = [*[text("Nothing.")] * payer, calls(PAY), *[text("Nothing.")] * (21 - payer)]
    bench = make_office(*looks, calls(PAY))
    run = await bench.work(await bench.start("Pay Ada"))
    for number in range(20):
        run = await bench.work(await fork(bench, run, step=0, session_id=f"fork {number}"))
    run = await bench.work(await fork(bench, run, step=0, session_id="the last"))
    assert (run.status, done) == ("waiting_approval", ["Ada"])


async def test_in_a_later_run_of_a_forks_session(make_office: Callable[..., Any]) -> None:
    """Unless the user asks for it there: that is another request."""
    script = [calls(LOOK), text("Nothing."), calls(PAY), text("Ada was paid.")]
    bench = make_office(*script, text("Nothing."), calls(PAY), calls(PAY), text("Ada was paid."))
    run = await bench.work(await bench.start("Pay Ada"))
    await bench.work(await fork(bench, run, step=1, session_id="first"))
    await bench.work(await fork(bench, run, step=1, session_id="second"))
    later = await bench.work(await bench.start("And now?", session_id="second"))
    assert (later.status, done) == ("waiting_approval", ["Ada"])
    again = await bench.work(await bench.start("Pay Ada again, please", session_id="second"))
    assert (again.status, done) == ("succeeded", ["Ada", "Ada"])


async def test_many_forks_of_forks_are_asked_for_in_one_look(make_office: Callable[..., Any]) -> None:
    bench = make_office(*[text("Nothing.")] * 21, calls(PAY), text("Ada was paid."))
    run = await bench.work(await bench.start("Pay Ada"))
    for number in range(20):
        run = await bench.work(await fork(bench, run, step=0, session_id=f"fork {number}"))
    last = await fork(bench, run, step=0, session_id="the last")
    looks = Counted(bench.journal)
    past = await read_past(looks, last, "Pay Ada", "0" * 64)
    assert (past.writes, looks.calls) == ((), ["writes"])


class Counted:
    """A journal whose reads are counted."""

    def __init__(self, journal: Any) -> None:
        self._journal, self.calls = journal, list[str]()

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._journal, name)


async def test_that_failed_it_is_made_again(make_office: Callable[..., Any]) -> None:
    bench = make_office(calls(("pay", {"to": 7})), text("No."), calls(PAY), text("Ada was paid."))
    await bench.work(await bench.start("Pay Ada", session_id="s"))
    run = await bench.work(await bench.start("Go on", session_id="s"))
    assert (run.status, done) == ("succeeded", ["Ada"])


@pytest.mark.parametrize(
    "again",
    [
        '{"order": 1.0}',
        '{"order": 1, "amount": 10}',
        '{"amount": 1e1, "order": 1}',
        '{"order": 1, "note": null}',
        '{"order": 1, "why": "none", "note": null, "amount": 10.0}',
    ],
)
async def test_in_other_spellings_of_its_arguments(make_office: Callable[..., Any], again: str) -> None:
    bench = make_office(*[calls(("refund", one)) for one in ('{"order": 1}', again, again)])  # told, then asked about
    run = await bench.work(await bench.start("Pay it back"))
    assert (run.status, done) == ("waiting_approval", ["1: 10"])


async def test_a_denied_call_is_denied_in_other_spellings(make_office: Callable[..., Any]) -> None:
    policy = parse_policy("name: p\nversion: '1'\ntools: {allow: {helper: ['*']}, ask: [{tool: refund}]}\n")
    asked = [calls(("refund", text)) for text in ('{"order": 1}', '{"order": 1.0, "amount": 10.0}')]
    bench = make_office(*asked, text("It was not paid back."), policy=policy)
    run = await bench.work(await bench.start("Pay it back"))
    (approval,) = (await bench.journal.approvals(run.tenant_id)).data
    assert approval.arguments == {"order": 1, "amount": 10, "note": None, "why": "none"}
    await bench.journal.decide(run.tenant_id, approval.id, "deny", "ann")
    run = await bench.work(run)
    assert (run.status, done) == ("succeeded", [])


class Together(Guard):
    """Both calls of a write have been checked before either goes on."""

    def __init__(self, policy: Policy, barrier: asyncio.Barrier) -> None:
        super().__init__(policy)
        self._barrier = barrier

    async def check(self, checked: Checked) -> Ruling:
        ruling = await super().check(checked)
        first = checked.call is not None and checked.call.spec.name == "pay" and not done
        if first and checked.stage is Stage.TOOL_CALL and ruling.action is Action.ALLOW:
            with suppress(asyncio.BrokenBarrierError):
                await self._barrier.wait()
                await self._barrier.abort()  # whoever is checked once more waits for nobody
        return ruling


async def test_by_two_agents_at_the_same_time(make_bench: Callable[..., Any]) -> None:
    desk = agent("desk", "clerk", "aide", parallel_calls=2)
    others = [agent(name, tools=["pay"]) for name in ("clerk", "aide")]
    tasks = calls(*[(tool_name(name), {"task": "See to Ada"}) for name in ("clerk", "aide")])
    script = [tasks, calls(PAY), calls(PAY), *[text("That is all.")] * 3]
    barrier = asyncio.Barrier(2)
    bench = family_of(make_bench(script), [desk, *others], [pay], guards=lambda policy: Together(policy, barrier))
    run = await bench.work(await bench.start("Pay Ada", agent="desk"))
    runs = (await bench.journal.runs(run.tenant_id, parent=run.id)).data
    results = [event for one in runs for event in await bench.events(one) if isinstance(event, ToolResult)]
    assert done == ["Ada"]
    assert sorted(result.ok for result in results) == [False, True]
    assert [result.error for result in results if not result.ok] == [ELSEWHERE]


async def test_by_two_agents_at_the_same_time_in_spellings_that_nobody_knows(
    make_bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalHosts, "known_by", unknown)
    desk = agent("desk", "clerk", "aide", parallel_calls=2)
    others = [agent(name, tools=["pay"]) for name in ("clerk", "aide")]
    tasks = calls(*[(tool_name(name), {"task": "See to Ada"}) for name in ("clerk", "aide")])
    script = [tasks, calls(PAY), calls(("pay", {"to": "ADA"})), *[text("That is all.")] * 3]
    barrier = asyncio.Barrier(2)
    bench = family_of(make_bench(script), [desk, *others], [pay], guards=lambda policy: Together(policy, barrier))
    run = await bench.work(await bench.start("Pay Ada", agent="desk"))
    runs = (await bench.journal.runs(run.tenant_id, parent=run.id)).data
    results = [event for one in runs for event in await bench.events(one) if isinstance(event, ToolResult)]
    assert len(done) == 1
    assert [result.error for result in results if not result.ok] == [ELSEWHERE]


async def unknown(*_: Any) -> None:
    raise Unsure


async def test_in_a_spelling_that_is_known_after_one_that_was_not(
    make_office: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = LocalHosts.known_by

    async def known_by(self: LocalHosts, name: str, arguments: dict[str, Any], context: ToolContext) -> Any:
        return await (known(self, name, arguments, context) if arguments["to"] == "1" else unknown())

    monkeypatch.setattr(LocalHosts, "known_by", known_by)
    one, same = calls(("wire", {"to": "Ada"})), calls(("wire", {"to": "1"}))
    bench = make_office(one, text("Sent."), same)
    await bench.work(await bench.start("Wire it", session_id="s"))
    run = await bench.work(await bench.start("And when does it arrive?", session_id="s"))
    assert (run.status, done) == ("waiting_approval", ["Ada"])


async def test_where_more_was_written_than_is_read(
    make_office: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalHosts, "known_by", unknown)
    bench = make_office(calls(PAY), text("Paid."), calls(("wire", {"to": "Ada"})))
    await bench.work(await bench.start("Pay Ada", session_id="s"))
    monkeypatch.setattr(past, "WRITES", 0)  # of the tool; the number is reached, so there may be more
    run = await bench.work(await bench.start("Thanks. All fine?", session_id="s"))
    assert (run.status, done) == ("waiting_approval", ["Ada"])


async def test_while_another_run_of_the_session_makes_it(make_office: Callable[..., Any]) -> None:
    bench = make_office(*[calls(("settle", {"bill": 7}))] * 2, *[text("Not sure.")] * 2)
    first = await bench.start("Hello.", session_id="s")
    second: list[Run] = []

    async def both() -> bool:
        if done and not second:
            second.append(await bench.start("How are you?", session_id="s"))
        waits = bool(second) and (await bench.get(second[0])).status not in ("queued", "running")
        if waits:
            settled[0].set()
        return waits

    await bench.until(both)
    assert ((await bench.get(second[0])).status, done) == ("waiting_approval", ["bill 7"])
    assert first.id != second[0].id


async def test_whose_tool_raised_after_it(make_bench: Callable[..., Any]) -> None:
    @tool(effect="keyed")
    def order(what: str) -> str:
        """Orders something."""
        done.append(what)
        raise ConnectionError("no answer")

    @tool(effect="keyed")
    def book(what: str) -> str:
        """Books something."""
        raise ToolRefused("It is taken.")

    script = [calls(("book", {"what": "a room"})), *[calls(("order", {"what": "tea"}))] * 2]
    bench = make_bench(script, [order, book], guard=Guard(UNTRACED))
    run = await bench.work(await bench.start("A room and tea"))
    assert (run.status, done) == ("waiting_approval", ["tea"])
    results = [event for event in await bench.events(run) if isinstance(event, ToolResult)]
    assert [result.uncertain for result in results] == [False, True]


async def test_whose_repetition_failed_after_its_first_result_was_lost(make_bench: Callable[..., Any]) -> None:
    inside = asyncio.Event()

    @tool(effect="keyed")
    async def order(what: str) -> str:
        """Orders something."""
        done.append(what)
        if len(done) == 2:
            raise ToolRefused("the shop is closed")
        inside.set()
        await asyncio.Event().wait()
        return ""

    bench = make_bench([calls(("order", {"what": "tea"}))] * 2, [order], guard=Guard(UNTRACED))
    run = await bench.start("Tea, please")
    old = bench.worker("old", concurrency=1)
    lost = asyncio.create_task(old.run())
    await asyncio.wait_for(inside.wait(), 10)
    old.drain()
    bench.clock.forward(31)
    await lost

    async def asks() -> bool:
        return (await bench.get(run)).status is RunStatus.WAITING_APPROVAL

    await bench.until(asks, bench.worker("new"))
    assert done == ["tea", "tea"]  # both under the first call's key
    (result,) = [event for event in await bench.events(run) if isinstance(event, ToolResult)]
    assert (result.error, result.uncertain) == ("the shop is closed", True)


class Impatient(LocalHosts):
    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        await super().call(name, arguments, context)
        return ToolOutcome(False, error=f"{name} took longer than 1 s and was stopped", timed_out=True, uncertain=True)


async def test_whose_result_nobody_waited_for(make_office: Callable[..., Any]) -> None:
    bench = make_office(calls(PAY), calls(PAY))
    bench.hosts = Impatient(bench.hosts.tools)
    run = await bench.work(await bench.start("Pay Ada"))
    assert (run.status, done) == ("waiting_approval", ["Ada"])
    (result,) = [event for event in await bench.events(run) if isinstance(event, ToolResult)]
    assert (result.ok, result.uncertain) == (False, True)


async def test_whose_result_a_guardrail_withheld(make_office: Callable[..., Any]) -> None:
    policy = parse_policy(
        "name: p\nversion: '1'\ntools: {provenance: allow, allow: {helper: ['*']}}\nstages:\n  tool_result:\n"
        "    rails: [{rail: terms, terms: [was paid], action: block}]\n"
    )
    bench = make_office(calls(PAY), calls(PAY), policy=policy)
    run = await bench.work(await bench.start("Pay Ada"))
    assert (run.status, done) == ("waiting_approval", ["Ada"])


async def test_whose_result_holds_what_a_database_does_not(make_bench: Callable[..., Any]) -> None:
    @tool(effect="keyed")
    def weigh(parcel: int) -> str:
        """Weighs a parcel."""
        done.append(f"parcel {parcel}")
        return "3 kg\0"

    plain = parse_policy("name: plain\nversion: '1'\nstages: {tool_result: {rails: []}}\n")
    bench = make_bench([calls(("weigh", {"parcel": 5})), text("3 kg.")], [weigh], guard=Guard(plain))
    run = await bench.work(await bench.start("Weigh parcel 5"))
    assert (run.status, done) == ("succeeded", ["parcel 5"])


async def fork(bench: Any, run: Run, step: int, session_id: str = "another") -> Run:
    origin = Origin(run_id=run.id, step=step)
    asked = created(text_of(run.input), agent=run.agent, session_id=session_id, budget=run.budget, origin=origin)
    return (await bench.journal.create(asked)).run  # type: ignore[no-any-return]
