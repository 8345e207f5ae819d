"""What the final rails withhold: nothing of it leaves a policy that holds answers, and no journal keeps it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.models.answer_chunks import Turn, calls, text
from agent.project.agent_spec import Limits
from agent.run.commands import interrupt
from flightloop.content import text_of
from flightloop.errors import ModelUnavailable
from flightloop.runs import Run
from flightloop.tool import tool, tool_of
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.guard import Guard
from guardrails.layered import Layered
from guardrails.policy import parse_policy
from guardrails.types import Checked, Judgement, Rail
from tests.agent.conftest import Bench
from tests.security.benches import bench

SECRET = "xyzzy"


@tool(effect="pure")
def note() -> str:
    """Notes."""
    return "noted"


def final(action: Action) -> Rail:
    """A rail that only sees the whole of an answer."""

    async def check(checked: Checked) -> Judgement:
        found = SECRET in checked.text
        verdict = Verdict(action=action if found else Action.ALLOW, rail="secret", stage=checked.stage)
        redacted = checked.text.replace(SECRET, "[secret]") if found and action is Action.REDACT else None
        return Judgement((verdict,), text=redacted)

    return check


def guard(action: Action, streaming: str) -> Guard:
    policy = f"name: desk\nversion: '1'\nstreaming: {streaming}\ntools: {{allow: {{helper: ['*']}}}}\n"
    return Guard(parse_policy(policy), rails={Stage.FINAL: final(action)})


def beside_a_call(*pieces: str) -> Turn:
    return [*text(*pieces)[:-1], *calls(("note", {}))]


WAYS: dict[str, Any] = {
    "a reply": lambda said: (text(*said),),
    "beside a call": lambda said: (beside_a_call(*said), text("Done.")),
    "beside a call, and output when the steps are used up": lambda said: (beside_a_call(*said), text("Done.")),
    "cut by the budget": lambda said: (text(*said, finish="length"), text("Done.")),
    "broken off": lambda said: ([*text(*said)[:-1], ModelUnavailable("gone")],),
}
BOUNDS = {
    "beside a call, and output when the steps are used up": Limits(steps=1),
    "cut by the budget": Limits(tokens=500),
}


async def told(bench: Bench, run: Run) -> tuple[str, str]:
    """What left while the answers were decoded, and what the journal keeps."""
    with bench.deltas.listen(run.id) as queue:
        run = await bench.work(run)
        left = "".join(queue.get_nowait().text for _ in range(queue.qsize()))
    events = "".join(event.model_dump_json() for event in await bench.events(run))
    return left, events + run.model_dump_json()


@settings(deadline=None, max_examples=40, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["The ", "word ", "is ", SECRET, " a@b.example "]), min_size=1, max_size=6),
    st.sampled_from([Action.BLOCK, Action.ASK, Action.REDACT]),
    st.sampled_from(sorted(WAYS)),
    st.sampled_from(["held", "live"]),
)
def test_nothing_leaves_before_the_final_check(
    tmp_path: Path, said: list[str], action: Action, way: str, streaming: str
) -> None:
    async def check() -> None:
        given = {"budget": BOUNDS[way]} if way in BOUNDS else {}
        desk = bench(tmp_path, *WAYS[way](said), tools=[tool_of(note)], guard=guard(action, streaming), **given)
        left, kept = await told(desk, await desk.start())
        assert SECRET not in kept
        if streaming == "held":
            assert SECRET not in left

    asyncio.run(check())


async def test_what_passes_goes_out_and_is_kept(tmp_path: Path) -> None:
    desk = bench(
        tmp_path,
        beside_a_call("I ", "look."),
        text("All ", "is ", "well."),
        tools=[tool_of(note)],
        guard=guard(Action.BLOCK, "held"),
    )
    left, kept = await told(desk, await desk.start())
    assert left == "I look.All is well."
    assert '"I look."' in kept
    assert '"All is well."' in kept


async def test_a_call_is_made_without_the_words_that_were_withheld_beside_it(tmp_path: Path) -> None:
    script = beside_a_call(SECRET), text("Done.")
    desk = bench(tmp_path, *script, tools=[tool_of(note)], guard=guard(Action.BLOCK, "held"))
    run = await desk.work(await desk.start())
    assert (run.status, text_of(run.output), run.usage.tool_calls) == ("succeeded", "Done.", 1)
    assert [message.text for message in desk.model.requests[1].messages[-2:]] == ["", "noted"]


@pytest.mark.parametrize(("action", "output"), [(Action.BLOCK, None), (Action.REDACT, "The [secret]; ")])
async def test_a_stop_gives_out_what_the_final_rails_leave(tmp_path: Path, action: Action, output: Any) -> None:
    asked = asyncio.Event()

    async def hang() -> None:
        asked.set()
        await asyncio.Event().wait()

    script: Turn = [*text("The ", SECRET, "; ")[:-1], hang()]
    desk = bench(tmp_path, script, guard=guard(action, "live"))
    run = await desk.start()

    async def stopped() -> bool:
        if asked.is_set() and not desk.snapshot.interrupts:
            await interrupt(desk.journal, "default", run.id)
            desk.snapshot = await desk.journal.interrupt_snapshot()
        return (await desk.get(run)).status.terminal

    await desk.until(stopped)
    run = await desk.get(run)
    assert (run.status, text_of(run.output) if run.output else None) == ("interrupted", output)
    assert SECRET not in "".join(event.model_dump_json() for event in await desk.events(run))


@pytest.mark.parametrize("streaming", [("held", "live"), ("live", "held")])
async def test_an_agent_that_works_for_one_whose_answers_are_held_holds_its_own(
    tmp_path: Path, streaming: tuple[str, str]
) -> None:
    both = Layered([guard(Action.BLOCK, each) for each in streaming])
    desk = bench(tmp_path, text("The ", SECRET), guard=both)
    left, kept = await told(desk, await desk.start())
    assert SECRET not in left + kept
