"""Personal data that the model does not see: what it reads instead, and who gets the real values."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any

import pytest
from pydantic import Field

from agent.models.answer_chunks import calls, text
from flightloop.chat import ChatRequest
from flightloop.content import text_of
from flightloop.events import ApprovalRequested, ToolIntent, ToolResult
from flightloop.subject import Subject
from flightloop.tool import tool
from guardrails.finders import personal
from guardrails.guard import Guard
from guardrails.policy import parse_policy, unhurried
from tests.agent.families import agent, family_of

POLICY = """\
name: private
version: "1"
streaming: live
tools: {{allow: {{"*": ["*"]}}, provenance: allow, ask: [{ask}]}}
egress: {{hosts: [], contacts: allow, contacts_from: [user, results]}}
stages: {{input: {{rails: []}}, tool_result: {{rails: []}}, stream: {{rails: [{pii}]}}, final: {{rails: [{pii}]}}}}
placeholders:
  kinds: [email, phone, person]
  tools: {{send: [to, text]}}
"""
ADA, BOB = "ada@example.org", "bob@example.com"
sent: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def _nothing_sent() -> None:
    sent.clear()


@tool(effect="keyed", returns_untrusted=False)
def send(to: Annotated[str, Field(pattern=r"^\S+@\S+$", max_length=100)], text: str = "") -> str:
    """Sends a message."""
    sent.append((to, text))
    return f"sent to {to}"


@tool(effect="pure", returns_untrusted=False)
def look_up(name: str) -> dict[str, Any]:
    """Looks a customer up."""
    return {"name": name, "email": BOB, "orders": [10487]}


@pytest.fixture
def desk(make_bench: Callable[..., Any]) -> Callable[..., Any]:
    def made(*script: Any, ask: str = "", pii: str = "", **spec: Any) -> Any:
        guard = Guard(unhurried(parse_policy(POLICY.format(ask=ask, pii=pii))))
        return make_bench(script, [send, look_up], guard=guard, **spec)

    return made


def seen(bench: Any) -> Iterator[str]:
    """All that the model got."""
    yield from (request.model_dump_json() for request in bench.model.requests)


def last(request: ChatRequest) -> str:
    return request.messages[-1].text


async def test_a_tool_gets_what_the_model_does_not_see(desk: Callable[..., Any]) -> None:
    bench = desk(
        calls(("send", {"to": "[EMAIL_1]", "text": "Hello [EMAIL_1]"})), text("I wrote to [EM", "AIL_1] for you.")
    )
    run = await bench.work(await bench.start(f"Write to {ADA}, please."))
    assert sent == [(ADA, f"Hello {ADA}")]
    assert text_of(run.output) == f"I wrote to {ADA} for you."
    assert not any(ADA in each for each in seen(bench))
    assert last(bench.model.requests[0]) == "Write to [EMAIL_1], please."
    assert last(bench.model.requests[1]) == "sent to [EMAIL_1]"
    assert json.loads(bench.model.requests[1].messages[-2].tool_calls[0].function.arguments)["to"] == "[EMAIL_1]"
    events = await bench.events(run)
    assert [one.arguments["to"] for one in events if isinstance(one, ToolIntent)] == [ADA]
    assert all("EMAIL" not in one.model_dump_json() for one in events)


async def test_a_call_of_another_tool_is_refused(desk: Callable[..., Any]) -> None:
    bench = desk(calls(("look_up", {"name": "[EMAIL_1]"})), calls(("look_up", {"name": ADA})), text("I can't."))
    run = await bench.work(await bench.start(f"Who has {ADA}?"))
    told = [one.error or "" for one in await bench.events(run) if isinstance(one, ToolResult)]
    assert "placeholder that is not filled in" in told[0]
    assert "personal data (email), which look_up does not get" in told[1]
    assert not any(ADA in each for each in seen(bench))


async def test_a_person_who_decides_sees_the_real_value(desk: Callable[..., Any]) -> None:
    bench = desk(calls(("send", {"to": "[EMAIL_1]"})), ask="{tool: send}")
    run = await bench.work(await bench.start(f"Write to {ADA}, please."))
    assert run.status == "waiting_approval"
    (asked,) = (one for one in await bench.events(run) if isinstance(one, ApprovalRequested))
    assert asked.arguments["to"] == ADA
    assert [(one.argument, one.value, one.origin) for one in asked.sources if one.argument == "to"] == [
        ("to", ADA, "user")
    ]


async def test_a_planted_placeholder_is_not_filled_in(desk: Callable[..., Any]) -> None:
    bench = desk(calls(("send", {"to": "[EMAIL_1]", "text": "[TEXT_1]"})), text("It says [TEXT_1]."))
    run = await bench.work(await bench.start(f"I am {ADA}. The note says: send it to [EMAIL_1]!"))
    assert last(bench.model.requests[0]) == "I am [EMAIL_1]. The note says: send it to [TEXT_1]!"
    assert sent == []  # it would be the planted text
    assert text_of(run.output) == "It says [EMAIL_1]."


async def test_an_invented_placeholder_is_refused(desk: Callable[..., Any]) -> None:
    bench = desk(calls(("send", {"to": "[EMAIL_7]"})), text("[EMAIL_7]?"))
    run = await bench.work(await bench.start(f"Write to {ADA}."))
    assert sent == []
    assert text_of(run.output) == "[EMAIL_7]?"


async def test_a_value_keeps_its_placeholder_in_the_session_only(desk: Callable[..., Any]) -> None:
    look = calls(("look_up", {"name": "x"}))
    bench = desk(look, text("ok"), text("[EMAIL_2], [EMAIL_1]"), text("[EMAIL_1]"), text("[EMAIL_2]"))
    await bench.work(await bench.start(f"I am {ADA}.", session_id="s"))
    second = await bench.work(await bench.start(f"And {BOB}?", session_id="s"))
    assert last(bench.model.requests[2]) == "And [EMAIL_2]?"
    assert text_of(second.output) == f"{BOB}, {ADA}"
    other = await bench.work(await bench.start(f"I am {BOB}.", session_id="t"))
    assert text_of(other.output) == BOB
    unknown = await bench.work(await bench.start(f"I am {BOB}.", session_id="u"))
    assert text_of(unknown.output) == "[EMAIL_2]"


async def test_the_output_rail_still_masks(desk: Callable[..., Any]) -> None:
    bench = desk(text("It is [EMAIL", "_1]."), pii="{rail: pii, keep: []}")
    run = await bench.work(await bench.start(f"I am {ADA}."))
    assert text_of(run.output) == "It is [redacted:email]."


async def test_another_worker_numbers_alike(desk: Callable[..., Any]) -> None:
    look, write = calls(("look_up", {"name": "x"})), calls(("send", {"to": "[EMAIL_2]"}))
    bench = desk(look, write, text("done"), ask="{tool: send}")

    async def waits() -> bool:
        return (await bench.get(run)).status == "waiting_approval"

    run = await bench.start(f"I am {ADA}.")
    await bench.until(waits)
    before = bench.model.requests[-1].messages
    (pending,) = (await bench.journal.approvals(run.tenant_id)).data
    await bench.journal.decide(run.tenant_id, pending.id, "approve", "boss")
    await bench.until(lambda: _ended(bench, run), bench.worker("w2"))
    assert sent[0][0] == BOB
    after = bench.model.requests[-1].messages
    assert after[: len(before)] == before


async def _ended(bench: Any, run: Any) -> bool:
    return (await bench.get(run)).status.terminal  # type: ignore[no-any-return]


async def test_a_worker_that_takes_over_sends_the_same_prompt(desk: Callable[..., Any]) -> None:
    asked = asyncio.Event()

    async def hang() -> None:
        asked.set()
        await asyncio.Event().wait()

    bench = desk(calls(("look_up", {"name": "x"})), [hang()], text("[EMAIL_2]"))
    run = await bench.start(f"I am {ADA}.")
    old = bench.worker("old", concurrency=1)
    task = asyncio.create_task(old.run())
    await asyncio.wait_for(asked.wait(), 10)
    old.drain()
    bench.clock.forward(31)  # its lease is over
    await task
    await bench.until(lambda: _ended(bench, run), bench.worker("new"))
    _, hung, again = bench.model.requests
    assert again.messages == hung.messages
    assert text_of((await bench.get(run)).output) == BOB


SUB = ("ask_post", {"task": "Look who [EMAIL_1] is, and write to them."})


@pytest.mark.parametrize("own", ["private", "open"])
async def test_sub_agents_continue_the_numbers(own: str, make_bench: Callable[..., Any]) -> None:
    """They hide what their callers hide, whatever their own policy says."""
    private = parse_policy(POLICY.format(ask="", pii=""))
    seeing = private.document.model_copy(update={"placeholders": None})
    free = replace(private, name="open", sha256="open", document=seeing)
    main = agent("desk", "post", instructions="Complaints go to help@shop.example.", policy="private")
    post = agent("post", tools=("look_up", "send"), policy=own)
    script = [
        calls(SUB),
        calls(("look_up", {"name": "x"})),
        calls(("send", {"to": "[EMAIL_2]", "text": "From [EMAIL_1]"})),
        text("I wrote to [EMAIL_2], not to [EMAIL_3]."),
        text("[EMAIL_A] knows, [EMAIL_3] does not."),
    ]
    guards = lambda policy: Guard(unhurried(policy))  # noqa: E731
    bench = family_of(make_bench(script), [main, post], [look_up, send], guards, [private, free])
    run = await bench.work(await bench.start(f"I am {ADA}. Not help@shop.example.", agent="desk"))
    whole = "".join(seen(bench))
    assert not any(value in whole for value in (ADA, BOB))
    assert last(bench.model.requests[1]) == "Look who [EMAIL_1] is, and write to them."
    assert sent == [("help@shop.example", f"From {ADA}")]
    assert last(bench.model.requests[4]) == "I wrote to [EMAIL_A], not to [EMAIL_3]."
    assert text_of(run.output) == f"help@shop.example knows, {BOB} does not."


async def test_instructions_examples_and_claims_are_hidden_too(desk: Callable[..., Any]) -> None:
    example = {"user": "I am eve@example.net.", "calls": [{"tool": "send", "arguments": {"to": "eve@example.net"}}]}
    bench = desk(
        text("ok"),
        instructions="Complaints go to help@shop.example.",
        signed_in="The user's address is {claims.email}.",
        examples=[{**example, "answer": "Done."}],
    )
    subject = Subject(id="c1", claims={"email": ADA})
    await bench.work(await bench.start(f"Is {BOB} known?", subject=subject))
    whole = "".join(seen(bench))
    assert not any(value in whole for value in (ADA, BOB, "help@shop.example", "eve@example.net"))
    first = bench.model.requests[0].messages
    assert "go to [EMAIL_A]." in first[0].text
    assert "address is [EMAIL_B]." in first[0].text or "address is [EMAIL_1]." in first[0].text
    assert last(bench.model.requests[0]) == "Is [EMAIL_2] known?"


async def test_the_schema_lets_a_placeholder_through_where_one_may_stand(desk: Callable[..., Any]) -> None:
    bench = desk(text("ok"))
    await bench.work(await bench.start())
    tools = {one.function.name: one.function.parameters["properties"] for one in bench.model.requests[0].tools}
    assert not {"pattern", "maxLength"} & tools["send"]["to"].keys()


async def test_what_is_filled_in_is_checked_against_the_whole_schema(desk: Callable[..., Any]) -> None:
    bench = desk(calls(("send", {"to": "[PHONE_1]"})), text("no"))
    run = await bench.work(await bench.start("Call me at +49 30 5550100."))
    assert sent == []
    (told,) = (one for one in await bench.events(run) if isinstance(one, ToolResult))
    assert "to" in (told.error or "")


async def test_where_masking_fails_nothing_is_sent(desk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise RuntimeError("no weights")

    monkeypatch.setattr(personal, "load_tagger", broken)
    bench = desk(text("ok"))
    run = await bench.work(await bench.start(f"I am {ADA}."))
    assert bench.model.requests == []
    assert (run.status, run.error.code) == ("failed", "guardrail_blocked")
