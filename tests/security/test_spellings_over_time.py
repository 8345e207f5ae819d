"""The same call is known where its hash is another one by now: its types make something new of it each time, or its
tool has got another parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import Field

from agent.loop.local_hosts import LocalHosts
from agent.models.answer_chunks import calls, text
from agent.run import past
from flightloop.runs import Run
from flightloop.tool import ToolContext, tool, tool_of
from guardrails.guard import Guard
from guardrails.policy import Policy, parse_policy
from tests.agent.conftest import UNTRACED, Bench, clock, journal, make_bench
from tools.host import ToolOutcome, Unsure

__all__ = ["clock", "journal", "make_bench"]
ASKING = parse_policy(
    "name: p\nversion: '1'\ntools: {provenance: allow, allow: {helper: ['*']}, ask: [{tool: order}]}\n"
)
done: list[str] = []
moment = [0]


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()


@tool(effect="keyed")
def order(what: str, number: Annotated[str, Field(default_factory=lambda: f"ORD-{moment[0]}")]) -> str:
    """Orders something. The number is the second's."""
    done.append(what)
    return "ordered"


@tool(effect="keyed")
def note(text: str) -> str:
    """Notes a text."""
    return "noted"


def first_send() -> Callable[..., str]:
    @tool(effect="keyed")
    def send(to: str, cents: int) -> str:
        """Sends money."""
        done.append(f"{to} {cents}")
        return "sent"

    return send


def second_send() -> Callable[..., str]:
    @tool(effect="keyed")
    def send(to: str, cents: int, currency: str = "EUR") -> str:
        """Sends money."""
        done.append(f"{to} {cents} {currency}")
        return "sent"

    return send


class AMomentLater(LocalHosts):
    """Each look at a call's arguments is in another second than the one before."""

    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None:
        moment[0] += 1
        return await super().known_by(name, arguments, context)

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        return await super().call(
            name, {"number": f"ORD-{moment[0]}", **arguments}, context
        )  # as a real host validates


def bench_of(make_bench: Callable[..., Bench], *script: Any, policy: Policy | None = None) -> Bench:
    bench = make_bench(script, [order], guard=Guard(policy or UNTRACED))
    bench.hosts = AMomentLater(bench.hosts.tools)
    return bench


ORDER = ("order", {"what": "tea"})


async def test_a_default_of_the_moment_makes_no_other_call(make_bench: Callable[..., Bench]) -> None:
    bench = bench_of(make_bench, calls(ORDER), calls(ORDER), calls(ORDER))  # the second is told to the model
    run = await bench.work(await bench.start("Tea, please"))
    assert (run.status, done) == ("waiting_approval", ["tea"])


async def test_nor_in_a_later_run_of_the_session(make_bench: Callable[..., Bench]) -> None:
    bench = bench_of(make_bench, calls(ORDER), text("Ordered."), calls(ORDER))
    await bench.work(await bench.start("Tea, please", session_id="s"))
    run = await bench.work(await bench.start("What did it cost?", session_id="s"))
    assert (run.status, done) == ("waiting_approval", ["tea"])


async def test_nor_behind_many_writes_of_another_tool(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session's writes are read up to a number; others must not push those of the tool out of it."""
    monkeypatch.setattr(past, "WRITES", 3)
    notes = calls(*[("note", {"text": str(number)}) for number in range(5)])
    bench = make_bench([calls(ORDER), text("Ordered."), notes, calls(ORDER)], [order, note], guard=Guard(UNTRACED))
    bench.hosts = AMomentLater(bench.hosts.tools)
    await bench.work(await bench.start("Tea, please", session_id="s"))
    run = await bench.work(await bench.start("Note the numbers up to 4", session_id="s"))
    assert (run.status, done) == ("waiting_approval", ["tea"])


async def decided(bench: Bench, run: Run, decision: str) -> Run:
    (approval,) = (await bench.journal.approvals("default", status="pending")).data
    await bench.journal.decide("default", approval.id, decision, "ann")
    return await bench.work(run)


async def test_a_denial_of_it_holds(make_bench: Callable[..., Bench]) -> None:
    bench = bench_of(make_bench, calls(ORDER), calls(ORDER), text("Not ordered."), policy=ASKING)
    run = await decided(bench, await bench.work(await bench.start("Tea, please")), "deny")
    assert (run.status, done) == ("succeeded", [])


async def test_an_approval_of_it_holds(make_bench: Callable[..., Bench]) -> None:
    bench = bench_of(make_bench, calls(ORDER), text("Ordered."), policy=ASKING)
    run = await decided(bench, await bench.work(await bench.start("Tea, please")), "approve")
    assert (run.status, done) == ("succeeded", ["tea"])


SEND = ("send", {"to": "Ada", "cents": 40})


async def test_a_tool_that_gets_a_parameter_is_known_by_its_earlier_calls(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench([calls(SEND), text("Sent."), calls(SEND)], [first_send()], guard=Guard(UNTRACED))
    await bench.work(await bench.start("40 cents to Ada", session_id="s"))
    declared = tool_of(second_send())
    assert declared is not None
    bench.hosts = LocalHosts([declared])
    run = await bench.work(await bench.start("Has she got it?", session_id="s"))
    assert (run.status, done) == ("waiting_approval", ["Ada 40"])


class Blind(LocalHosts):
    """Its types could not be asked."""

    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None:
        raise Unsure


async def test_a_write_that_was_not_looked_at_is_known_by_its_arguments(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench([calls(SEND), text("Sent."), calls(SEND)], [first_send()], guard=Guard(UNTRACED))
    bench.hosts = Blind(bench.hosts.tools)
    await bench.work(await bench.start("40 cents to Ada", session_id="s"))
    bench.hosts = LocalHosts(bench.hosts.tools)
    run = await bench.work(await bench.start("Has she got it?", session_id="s"))
    assert (run.status, done) == ("waiting_approval", ["Ada 40"])
