"""A stop holds while a model judges an answer, too: nothing of it leaves, and no model is asked any more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from agent.api import create_app
from agent.models.answer_chunks import text
from agent.run.commands import interrupt
from agent.testing.api import KEY, FixedCatalogue, api_deps
from flightloop.runs import Run
from guardrails.guard import Guard
from guardrails.interrupt import InterruptSnapshot
from guardrails.policy import Policy, parse_policy
from tests.agent.conftest import Bench
from tests.security.benches import bench

HELLO = [{"role": "user", "content": "hello"}]
JUDGED = """
name: default
version: "1"
streaming: {streaming}
stages: {{input: {{rails: []}}, stream: {{rails: []}}, final: {{rails: [], timeout_ms: 60000}}}}
constitution: {{enabled: true, principles: [Be kind.]}}
"""
GREY = """
name: default
version: "1"
stages: {input: {rails: [{rail: content, judge_from: 0.0, block_at: 1.0}], timeout_ms: 60000}}
"""


class SlowJudge:
    """Never comes to a word."""

    def __init__(self) -> None:
        self.asked, self.ended, self.questions = asyncio.Event(), asyncio.Event(), 0

    async def __call__(self, prompt: str) -> str:
        self.questions += 1
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        raise AssertionError


def judged(policy: str, judge: SlowJudge) -> tuple[Policy, Guard]:
    read = parse_policy(policy)
    return read, Guard(read, judge)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "policy", [JUDGED.format(streaming="held"), JUDGED.format(streaming="live"), GREY], ids=["held", "live", "input"]
)
async def test_a_completion(policy: str, stream: bool) -> None:
    judge = SlowJudge()
    deps = api_deps(catalogue=FixedCatalogue(*judged(policy, judge)))
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        body = {"model": "scripted", "messages": HELLO, "stream": stream}
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=body))
        await judge.asked.wait()
        await deps.journal.raise_interrupt("default", "all")
        async with asyncio.timeout(30):
            answer = await asking
    assert '"interrupted"' in answer.text
    assert answer.status_code == 423 or stream
    assert '"finish_reason":"stop"' not in answer.text
    assert judge.ended.is_set()


async def interrupted(desk: Bench, when: asyncio.Event) -> Run:
    """A run that is stopped then."""
    run = await desk.start()

    async def ended() -> bool:
        if when.is_set():
            when.clear()
            await interrupt(desk.journal, "default", run.id, "ann")
            snapshot = await desk.journal.interrupt_snapshot()
            desk.snapshot = InterruptSnapshot(snapshot.epoch, snapshot.interrupts)
        return (await desk.get(run)).status.terminal

    await desk.until(ended)
    run = await desk.get(run)
    assert run.status == "interrupted"
    return run


async def test_a_run_while_its_answer_is_judged(tmp_path: Path) -> None:
    judge = SlowJudge()
    _, guard = judged(JUDGED.format(streaming="live"), judge)
    run = await interrupted(bench(tmp_path, text("Hello to you."), guard=guard), judge.asked)
    assert (run.output, judge.questions) == (None, 1)


@pytest.mark.parametrize("enabled", [True, False])
async def test_a_run_in_the_middle_of_its_answer(tmp_path: Path, enabled: bool) -> None:
    """What it has said so far is given out, unless a model would have to judge it."""
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    judge = SlowJudge()
    policy = JUDGED.format(streaming="live").replace("enabled: true", f"enabled: {enabled}")
    first, *_ = text("Hello to you.")
    desk = bench(tmp_path, [first, hang()], guard=judged(policy, judge)[1])
    run = await interrupted(desk, begun)
    assert (run.output is None, judge.questions) == (enabled, 0)
