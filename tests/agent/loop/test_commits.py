"""What of a step is committed together, and before what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from agent.models.answer_chunks import calls, text
from agent.store import StoreJournal
from flightloop.errors import StoreUnavailable
from flightloop.events import RunEvent
from flightloop.limits import MESSAGES
from flightloop.runs import Budget, Run
from flightloop.tool import ToolContext, tool

Commits = list[list[str]]


@tool(effect="pure")
async def look(number: int) -> str:
    """Looks at something."""
    return f"seen {number}"


@tool(effect="keyed")
async def send(context: ToolContext, number: int) -> str:
    """Sends something."""
    return f"sent {number}"


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Commits:
    """The types of the events of each commit, verdicts left out (that on the input is one)."""
    found: Commits = []
    append = StoreJournal.append

    async def noted(self: StoreJournal, run_id: str, events: Sequence[RunEvent], *others: Any) -> Any:
        written = await append(self, run_id, events, *others)
        if types := [event.type for event in written.events if event.type not in ("verdict", "checks.passed")]:
            found.append(types)
        return written

    monkeypatch.setattr(StoreJournal, "append", noted)
    return found


async def test_calls_without_an_effect_are_committed_with_their_results(
    make_bench: Callable[..., Any], commits: Commits
) -> None:
    asked = [("look", {"number": number}) for number in range(3)]
    bench = make_bench([calls(*asked), text("Seen.")], [look], parallel_calls=3)
    await bench.work(await bench.start())
    intents, results = ["tool.intent"] * 3, ["tool.result"] * 3
    assert commits == [["decision.calls", *intents, *results], ["decision.reply", "run.ended"]]


async def test_an_effect_waits_for_the_commit_of_its_intent(make_bench: Callable[..., Any], commits: Commits) -> None:
    asked = [("send", {"number": 1}), ("look", {"number": 2})]
    bench = make_bench([calls(*asked), text("Sent.")], [send, look], parallel_calls=3)
    await bench.work(await bench.start())
    assert commits == [
        ["decision.calls", "tool.intent", "tool.intent"],
        ["tool.result", "tool.result"],
        ["decision.reply", "run.ended"],
    ]


async def test_a_refused_call_is_committed_with_its_decision(make_bench: Callable[..., Any], commits: Commits) -> None:
    bench = make_bench([calls(("nothing", {})), text("Well.")], [look])
    await bench.work(await bench.start())
    assert commits == [["decision.calls", "tool.result"], ["decision.reply", "run.ended"]]


def hanging(asked: asyncio.Event, go_on: asyncio.Event) -> Callable[[int], Awaitable[str]]:
    @tool(effect="pure")
    async def wait(number: int) -> str:
        """Waits."""
        asked.set()
        await go_on.wait()
        return "waited"

    return wait


async def test_what_takes_longer_is_seen_before_its_result(make_bench: Callable[..., Any], commits: Commits) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    bench = make_bench([calls(("wait", {"number": 1})), text("Done.")], [hanging(asked, go_on)])
    run = await bench.start()

    async def decided() -> bool:
        seen = [event.type for event in await bench.events(run)]
        if "tool.intent" in seen and not go_on.is_set():
            assert asked.is_set()
            assert "tool.result" not in seen
            go_on.set()
        return (await bench.get(run)).status.terminal  # type: ignore[no-any-return]

    await bench.until(decided)
    assert commits == [["decision.calls", "tool.intent"], ["tool.result"], ["decision.reply", "run.ended"]]


async def test_a_write_that_fails_beside_the_calls_is_not_lost(
    make_bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what was decided, while the call still goes on: the run is given back, and ends all the same."""
    asked, go_on = asyncio.Event(), asyncio.Event()
    append, failed = StoreJournal.append, list[str]()

    async def failing(self: StoreJournal, run_id: str, events: Sequence[RunEvent], *others: Any) -> Any:
        if not failed and any(event.type == "decision.calls" for event in events):
            failed.append(run_id)
            go_on.set()
            raise StoreUnavailable("the disk is full")
        return await append(self, run_id, events, *others)

    monkeypatch.setattr(StoreJournal, "append", failing)
    turn = calls(("wait", {"number": 1}))
    bench = make_bench([turn, turn, text("Done.")], [hanging(asked, go_on)])
    run: Run = await bench.work(await bench.start())
    assert (run.status, failed) == ("succeeded", [run.id])
    assert [event.type for event in await bench.events(run)].count("tool.result") == 1


async def test_what_was_decided_is_kept_when_a_tool_of_ours_breaks(
    make_bench: Callable[..., Any], commits: Commits
) -> None:
    bench = make_bench([calls(("look", {"number": 1})), text("?")], [look])

    async def broken(name: str, arguments: dict[str, Any], context: ToolContext) -> Any:
        raise RuntimeError("a fault of the host")

    bench.hosts.call = broken
    run = await bench.work(await bench.start())
    assert (run.status, run.stop_reason, run.usage.model_calls) == ("failed", "error", 1)
    assert commits == [["decision.calls", "tool.intent"], ["run.ended"]]


async def test_a_write_that_is_broken_off_and_fails_is_known(
    make_bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emergency stop comes while a decision is being written, and that fails: nothing is written behind it."""
    writing, append = asyncio.Event(), StoreJournal.append

    async def failing(self: StoreJournal, run_id: str, events: Sequence[RunEvent], *others: Any) -> Any:
        if not writing.is_set() and any(event.type == "decision.calls" for event in events):
            writing.set()
            await stopped.wait()
            raise StoreUnavailable("the disk is full")
        return await append(self, run_id, events, *others)

    monkeypatch.setattr(StoreJournal, "append", failing)
    turn, stopped = calls(("send", {"number": 1})), asyncio.Event()
    bench = make_bench([turn, turn, text("Sent.")], [send])
    run = await bench.start()
    worker = bench.worker()
    task = asyncio.create_task(worker.run())
    await writing.wait()
    (held,) = worker._held
    held.task.cancel()
    stopped.set()
    worker.drain()
    await task
    assert [event.type for event in await bench.events(run) if event.type not in ("verdict", "checks.passed")] == [
        "run.created",
        "run.started",
        "run.released",
    ]
    assert (await bench.work(run)).status == "succeeded"


async def test_a_write_that_is_broken_off_twice_is_still_waited_for(
    make_bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is over, then comes the emergency stop, and the database is slow: the result stands before the end."""
    writing, go_on, append = asyncio.Event(), asyncio.Event(), StoreJournal.append

    async def slow(self: StoreJournal, run_id: str, events: Sequence[RunEvent], *others: Any) -> Any:
        if any(event.type == "tool.result" for event in events):
            writing.set()
            await go_on.wait()
        return await append(self, run_id, events, *others)

    monkeypatch.setattr(StoreJournal, "append", slow)
    bench = make_bench([calls(("send", {"number": 1})), text("Sent.")], [send])
    run = await bench.start()
    worker = bench.worker()
    task = asyncio.create_task(worker.run())
    await writing.wait()
    (held,) = worker._held
    for _ in range(2):
        held.stop.interrupted = True
        held.task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    go_on.set()
    worker.drain()
    await task
    told = [event.type for event in await bench.events(run) if event.type not in ("verdict", "checks.passed")]
    assert told[-2:] == ["tool.result", "run.ended"]
    assert (await bench.get(run)).status == "interrupted"


async def test_a_run_may_have_more_messages_than_a_client_may_send(make_bench: Callable[..., Any]) -> None:
    steps = MESSAGES // 64 + 1
    asked = [[("look", {"number": 64 * step + index}) for index in range(64)] for step in range(steps)]
    bench = make_bench([*(calls(*each) for each in asked), text("Seen.")], [look], parallel_calls=64)
    run = await bench.work(await bench.start(budget=Budget(steps=100, tokens=10**9, seconds=600)))
    assert (run.status, run.usage.tool_calls) == ("succeeded", 64 * steps)
