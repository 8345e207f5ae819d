"""What an answer says was done is checked against the journal, and no write is made twice unasked; on both journals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.models.answer_chunks import calls, text
from agent.project.subagent import tool_name
from flightloop.content import text_of
from flightloop.events import CallsDecided, ChecksPassed, Judged
from flightloop.tool import ToolRefused, tool
from guardrails.guard import Guard
from guardrails.policy import default_policy
from guardrails.rails.claims import CORRECTION
from tests.agent.families import agent
from tests.agent.loop.test_subagents import make_family

__all__ = ["make_family"]
done: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()


@tool(effect="keyed")
def renew_loan(title: str) -> str:
    """Renews a loan."""
    if title == "Dune":
        raise ToolRefused("Dune was renewed twice already")
    done.append(title)
    return f"{title} is due on 2026-05-03"


SOLARIS, DUNE = ("renew_loan", {"title": "Solaris"}), ("renew_loan", {"title": "Dune"})


@pytest.fixture
def library(make_bench: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *script, **spec: make_bench(script, [renew_loan], guard=Guard(default_policy()), **spec)


async def test_a_model_that_claims_what_it_has_not_done_is_asked_again(library: Callable[..., Any]) -> None:
    bench = library(calls(DUNE), text("I have renewed Dune."), text("Dune cannot be renewed a third time."))
    run = await bench.work(await bench.start("Renew Dune"))
    assert text_of(run.output) == "Dune cannot be renewed a third time."
    told = bench.model.requests[-1].messages[-1].text
    assert "renew_loan" in told
    assert "say only what was done" in told


async def test_one_that_claims_it_again_is_corrected(library: Callable[..., Any]) -> None:
    claim = text("I have renewed Dune.")
    bench = library(calls(DUNE), claim, claim)
    run = await bench.work(await bench.start("Renew Dune"))
    assert run.status == "succeeded"
    assert text_of(run.output) == "Not done: renew loan (title: Dune)."


async def test_what_it_has_claimed_is_not_made_true_unasked(library: Callable[..., Any]) -> None:
    claim = text("I have renewed Solaris.")
    bench = library(claim, calls(SOLARIS), claim, text("Nothing was done."))
    run = await bench.work(await bench.start("Is Solaris renewed?"))
    assert [request.tool_choice for request in bench.model.requests] == ["auto", "none", "none"]
    assert (text_of(run.output), done) == ("Nothing was changed.", [])


async def test_one_that_calls_on_and_on_fails_in_words_for_the_user(library: Callable[..., Any]) -> None:
    bench = library(text("I have renewed Solaris."), calls(SOLARIS), calls(SOLARIS))
    run = await bench.work(await bench.start("Is Solaris renewed?"))
    assert (run.status, run.error.code, done) == ("failed", "invalid_call", [])
    assert "Rephrase the request" in run.error.message


async def test_what_it_is_told_then_is_no_answer(library: Callable[..., Any]) -> None:
    echo = text(f"{CORRECTION} it says that renew_loan was called. Try again.")
    bench = library(calls(DUNE), text("I have renewed Dune."), echo, echo)
    run = await bench.work(await bench.start("Renew Dune"))
    assert text_of(run.output) == "Not done: renew loan (title: Dune)."
    assert bench.model.requests[-1].messages[-1].text.startswith(CORRECTION)


async def test_a_yes_to_whether_it_worked_is_a_claim(library: Callable[..., Any]) -> None:
    yes = text("Yes, it did.")
    bench = library(calls(SOLARIS), text("It is due on 3 May."), yes, calls(DUNE), text("It can't be."), yes, yes)
    runs = []
    for asked in ("Renew Solaris", "Did that work?", "Renew Dune", "Did that work?"):
        runs.append(await bench.work(await bench.start(asked, session_id="s")))
    assert text_of(runs[1].output) == "Yes, it did."
    assert text_of(runs[3].output) == "Not done: renew loan."


async def test_text_beside_a_call_that_claims_it_is_left_out(library: Callable[..., Any]) -> None:
    both = [*text("I have renewed Solaris.")[:-1], *calls(SOLARIS)]
    bench = library(both, text("I have renewed Solaris until 3 May 2026."))
    run = await bench.work(await bench.start("Renew Solaris"))
    decided = next(event for event in await bench.events(run) if isinstance(event, CallsDecided))
    assert (decided.text, text_of(run.output)) == ("", "I have renewed Solaris until 3 May 2026.")


async def test_what_an_earlier_run_of_the_session_did_may_be_told(library: Callable[..., Any]) -> None:
    said = text("I have renewed Solaris.")
    bench = library(calls(SOLARIS), said, said)
    first = await bench.work(await bench.start("Renew Solaris", session_id="s"))
    second = await bench.work(await bench.start("What did you do?", session_id="s"))
    assert text_of(first.output) == text_of(second.output) == "I have renewed Solaris."


async def test_a_later_run_repeats_no_write_unasked(library: Callable[..., Any]) -> None:
    bench = library(calls(SOLARIS), text("Renewed."), calls(SOLARIS))
    await bench.work(await bench.start("Renew Solaris", session_id="s"))
    run = await bench.work(await bench.start("And when is it due now?", session_id="s"))
    assert (run.status, done) == ("waiting_approval", ["Solaris"])


async def test_it_does_when_the_user_asks_for_it(library: Callable[..., Any]) -> None:
    said = text("I have renewed Solaris.")
    bench = library(calls(SOLARIS), said, calls(SOLARIS), said)
    await bench.work(await bench.start("Renew Solaris", session_id="s"))
    run = await bench.work(await bench.start("Renew it again", session_id="s"))
    assert (run.status, done) == ("succeeded", ["Solaris", "Solaris"])


async def test_what_the_user_forbids_waits_for_a_person(library: Callable[..., Any]) -> None:
    bench = library(calls(SOLARIS), text("It is due on 3 May."))
    run = await bench.work(await bench.start("When is Solaris due? Please don't renew it."))
    assert (run.status, done) == ("waiting_approval", [])


async def test_neither_does_another_session(library: Callable[..., Any]) -> None:
    said = text("I have renewed Solaris.")
    bench = library(calls(SOLARIS), said, calls(SOLARIS), said)
    await bench.work(await bench.start("Renew Solaris", session_id="one"))
    run = await bench.work(await bench.start("When is it due?", session_id="two"))
    assert (run.status, done) == ("succeeded", ["Solaris", "Solaris"])


async def test_two_equal_calls_of_one_decision_are_one(library: Callable[..., Any]) -> None:
    bench = library(calls(SOLARIS, SOLARIS))
    run = await bench.work(await bench.start("Renew Solaris"))
    assert (run.status, done) == ("waiting_approval", ["Solaris"])


async def test_what_a_run_for_this_one_did_may_be_told(make_family: Callable[..., Any]) -> None:
    desk, billing = agent("desk", "billing"), agent("billing", tools=["renew_loan"])
    task = calls((tool_name("billing"), {"task": "Renew Solaris"}))
    said = text("I have renewed Solaris.")
    bench = make_family([task, calls(SOLARIS), said, said], [desk, billing], [renew_loan], guards=Guard)
    run = await bench.work(await bench.start("Renew Solaris", agent="desk"))
    assert (text_of(run.output), done) == ("I have renewed Solaris.", ["Solaris"])


async def test_what_it_did_not_is_no_claim_of_this_one(make_family: Callable[..., Any]) -> None:
    desk, billing = agent("desk", "billing"), agent("billing", tools=["renew_loan"])
    task = calls((tool_name("billing"), {"task": "Renew Dune"}))
    claim = text("I have renewed Dune.")
    bench = make_family([task, text("It can't be."), claim, claim], [desk, billing], [renew_loan], guards=Guard)
    run = await bench.work(await bench.start("Renew Dune", agent="desk"))
    assert text_of(run.output) == "Nothing was changed."


async def test_examples_in_an_agents_file_are_no_evidence(library: Callable[..., Any]) -> None:
    example = {"user": "What does a renewal cost?", "answer": "It costs 12.50 EUR."}
    bench = library(text("It costs 12.50 EUR."), examples=[example])
    run = await bench.work(await bench.start("What is the fee?"))
    scores = [verdict.scores for event in await bench.events(run) for verdict in _verdicts(event)]
    assert {"groundedness": 0.0} in scores


def _verdicts(event: Any) -> list[Any]:
    if isinstance(event, Judged):
        return [event.verdict]
    return event.passed.verdicts if isinstance(event, ChecksPassed) else []
