"""Contacts that an earlier answer of the session told: a later answer may repeat them, a call may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.models.answer_chunks import calls, text
from flightloop.content import text_of
from flightloop.tool import tool
from guardrails.guard import Guard
from guardrails.policy import parse_policy, unhurried

TOLD = "Write to help@shop.example or call +49 30 5550100."
ASK = ("read_page", {"page": "contact"})


@tool(effect="pure")
def read_page(page: str) -> str:
    """Reads a page."""
    return TOLD


@tool(effect="keyed")
def add_note(words: str) -> str:
    """Adds a note."""
    return "added"


@pytest.fixture
def desk(make_bench: Callable[..., Any]) -> Callable[..., Any]:
    def made(egress: str, *script: Any) -> Any:
        guard = Guard(unhurried(parse_policy(f'name: desk\nversion: "1"\negress: {{{egress}}}\n')))
        return make_bench(script, [read_page, add_note], guard=guard)

    return made


@pytest.mark.parametrize("egress", ["contacts_from: [user, trusted]", "contacts_from: [results]"])
async def test_a_later_answer_may_repeat_what_an_earlier_one_told(desk: Callable[..., Any], egress: str) -> None:
    bench = desk(egress, calls(ASK), text(TOLD), text(TOLD), text(TOLD))
    first = await bench.work(await bench.start("How do I reach you?", session_id="s"))
    second = await bench.work(await bench.start("Once more, please", session_id="s"))
    other = await bench.work(await bench.start("How do I reach you?", session_id="t"))
    assert text_of(first.output) == text_of(second.output) == TOLD
    assert "help@shop" not in text_of(other.output)


async def test_a_source_that_does_not_vouch_does_not_vouch_later(desk: Callable[..., Any]) -> None:
    bench = desk("contacts_from: [user]", calls(ASK), text(TOLD), text(TOLD))
    for _ in range(2):
        run = await bench.work(await bench.start("How do I reach you?", session_id="s"))
        assert "help@shop" not in text_of(run.output)


async def test_a_later_call_asks_a_person_about_it(desk: Callable[..., Any]) -> None:
    note = ("add_note", {"words": "Ask help@shop.example"})
    bench = desk("contacts_from: [results]", calls(ASK), text(TOLD), calls(note))
    await bench.work(await bench.start("How do I reach you?", session_id="s"))
    run = await bench.work(await bench.start("Add a note", session_id="s"))
    assert run.status == "waiting_approval"
