"""The rail ``moderation``: thresholds, categories, and everything that must fail closed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightloop.errors import ConfigError
from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from guardrails.rail_entries import ModerationEntry
from guardrails.rails.moderation import MOST_CHARS, CallBudget, Moderate, _pieces, moderation_rail
from guardrails.types import Checked, CheckedCall, GuardContext, Ruling, asked_about

URL = "http://127.0.0.1:9/v1/moderations"
POLICY = """
name: moderated
version: "1"
stages:
  {stage}: {{timeout_ms: 60000, rails: [{{rail: moderation, url: "{url}"{more}}}]}}
"""


def guard(moderate: Moderate | None, more: str = "", stage: str = "input") -> Guard:
    return Guard(parse_policy(POLICY.format(stage=stage, url=URL, more=more)), moderate=moderate)


def scoring(**scores: float) -> Moderate:
    async def moderate(entry: ModerationEntry, text: str) -> Mapping[str, float]:
        assert entry.url == URL
        return scores

    return moderate


async def judged(guard: Guard, text: str = "Hello.") -> Ruling:
    return await guard.check(Checked(Stage.INPUT, text, GuardContext()))


@pytest.mark.parametrize(
    ("scores", "more", "action"),
    [
        ({"flagged": 0.0, "hate": 0.49}, "", Action.ALLOW),
        ({"flagged": 0.0, "hate": 0.5}, "", Action.BLOCK),
        ({"flagged": 1.0, "hate": 0.1}, "", Action.ALLOW),  # the policy's threshold counts, not the endpoint's
        ({"flagged": 1.0}, "", Action.BLOCK),
        ({"flagged": 0.0}, "", Action.ALLOW),
        ({"hate": 0.9, "violence": 0.1}, ", categories: [violence]", Action.ALLOW),
        ({"hate": 0.2}, ", at: 0.2", Action.BLOCK),
        ({"hate": 0.9}, ", action: allow", Action.ALLOW),
        ({"hate": 0.9}, ", categories: [violence]", Action.BLOCK),  # a category that the endpoint does not know
        ({}, "", Action.BLOCK),
    ],
)
async def test_scores_lead_to_the_action(scores: dict[str, float], more: str, action: Action) -> None:
    assert (await judged(guard(scoring(**scores), more))).action is action


async def test_the_verdict_tells_scores_and_labels() -> None:
    ruling = await judged(guard(scoring(hate=0.9, violence=0.1)))
    (verdict,) = [one for one in ruling.verdicts if one.rail == "moderation"]
    assert verdict.scores == {"hate": 0.9, "violence": 0.1}
    assert verdict.labels == ["hate"]
    assert verdict.reason == "the moderation endpoint found hate"


async def test_without_a_client_or_an_answer_it_blocks() -> None:
    async def fails(entry: ModerationEntry, text: str) -> Mapping[str, float]:
        raise OSError("connection refused")

    async def never(entry: ModerationEntry, text: str) -> Mapping[str, float]:
        await asyncio.Event().wait()
        return {}

    assert "no moderation client" in (await judged(guard(None))).reason
    assert "connection refused" in (await judged(guard(fails))).reason
    late = await judged(guard(never, ", timeout_ms: 1"))
    assert late.action is Action.BLOCK
    assert "did not answer within 1 ms" in late.reason


async def test_a_used_up_budget_blocks_until_a_minute_has_passed() -> None:
    limited = guard(scoring(hate=0.0), ", per_minute: 2")
    actions = [(await judged(limited)).action for _ in range(3)]
    assert actions == [Action.ALLOW, Action.ALLOW, Action.BLOCK]
    now = [0.0]
    budget = CallBudget(1, lambda: now[0])
    budget.take(1)
    with pytest.raises(RuntimeError, match="budget of 1 calls a minute is used up"):
        budget.take(1)
    now[0] = 60.0
    budget.take(1)


@pytest.mark.parametrize("scores", [None, {}, {"flagged": 0.0}])
async def test_errors_leave_out_what_may_be_a_key(scores: Mapping[str, float] | None) -> None:
    """Without an answer in time, without a score, and without the score of the category."""
    url = "https://user:word@moderation.example/v1/moderations?key=hunter2"

    async def moderate(entry: ModerationEntry, text: str) -> Mapping[str, float]:
        if scores is None:
            await asyncio.Event().wait()
        return scores or {}

    entry = ModerationEntry(rail="moderation", url=url, timeout_ms=1, categories=("hate",) if scores else None)
    with pytest.raises((RuntimeError, ValueError)) as caught:
        await moderation_rail(entry, moderate)(Checked(Stage.INPUT, "Hello.", GuardContext()))
    assert str(caught.value).startswith("https://moderation.example/v1/moderations ")
    assert "hunter2" not in str(caught.value)


async def test_arguments_of_calls_are_judged_and_empty_texts_cost_nothing() -> None:
    seen = []

    async def moderate(entry: ModerationEntry, text: str) -> Mapping[str, float]:
        seen.append(text)
        return {"hate": 1.0}

    spec = ToolSpec("post", "Posts.", {"type": "object", "properties": {"text": {"type": "string"}}}, Effect.PURE)
    call = CheckedCall("call", spec, {"text": "bad words"})
    checked = Checked(Stage.TOOL_CALL, "", GuardContext(agent="a"), call)
    assert (await guard(moderate, ", action: ask", "tool_call").check(checked)).action is Action.ASK
    assert seen == ['{"text": "bad words"}']
    assert (await judged(guard(moderate), " ")).action is Action.ALLOW
    assert len(seen) == 1


async def test_what_a_person_approved_is_made_though_the_endpoint_never_says_the_same_twice() -> None:
    scores = iter((0.71, 0.72))

    async def moderate(entry: ModerationEntry, text: str) -> Mapping[str, float]:
        return {"hate": next(scores)}

    spec = ToolSpec("post", "Posts.", {"type": "object", "properties": {"text": {"type": "string"}}}, Effect.PURE)
    call = CheckedCall("call", spec, {"text": "bad words"})
    asking = guard(moderate, ", action: ask", "tool_call")
    first = await asking.check(Checked(Stage.TOOL_CALL, "", GuardContext(agent="a"), call))
    assert first.action is Action.ASK
    asked = frozenset(asked_about(one) for one in first.verdicts if one.action is Action.ASK)
    approved = GuardContext(agent="a", approved_args=frozenset({call.args_sha256}), approved_for=asked)
    assert (await asking.check(Checked(Stage.TOOL_CALL, "", approved, call))).action is Action.ALLOW


@given(st.integers(0, 5 * MOST_CHARS))
def test_pieces_of_a_long_text_leave_nothing_out(length: int) -> None:
    text = "".join(chr(0x10000 + at) for at in range(length))  # no character twice
    end = 0
    for piece in _pieces(text):
        assert len(piece) <= MOST_CHARS
        at = text.index(piece)
        assert at <= end
        end = max(end, at + len(piece))
    assert end == length


@pytest.mark.parametrize("more", [", action: redact", ", at: 2", ", per_minute: 0", ", categories: []"])
def test_settings_that_mean_nothing_are_errors(more: str) -> None:
    with pytest.raises(ConfigError):
        guard(None, more)


def test_it_cannot_judge_a_stream_and_needs_a_url() -> None:
    with pytest.raises(ConfigError, match="can't check a stream"):
        guard(None, stage="stream")
    with pytest.raises(ConfigError, match="url"):
        parse_policy(POLICY.format(stage="input", url="example.com", more=""))
