"""Who must decide about a call, as a policy says it: in a rule, in a limit, for all calls that ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightloop.errors import ConfigError
from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.approval_rule import ANYBODY, ApprovalRule, strictest
from guardrails.guard import Guard
from guardrails.layered import Layered
from guardrails.limit_share import LimitShare
from guardrails.policy import default_policy, parse_policy, unhurried
from guardrails.types import Checked, CheckedCall, GuardContext, Ruling, asked_about

TWO, OTHER = ApprovalRule(persons=2), ApprovalRule(not_starter=True)
RULES = st.builds(ApprovalRule, persons=st.integers(1, 5), not_starter=st.booleans())
HEAD = 'name: p\nversion: "1"\ntools:\n  allow: {"*": ["*"]}\n  provenance: allow\n  repeated_writes: allow\n'
LARGE = "  ask: [{tool: pay, argument: amount, above: 100, reason: a large sum, approval: {persons: 2}}]\n"


def guard(tools: str = "", more: str = "") -> Guard:
    return Guard(unhurried(parse_policy(f"{HEAD}{tools}{more}")))


async def ruled(judge: Any, amount: float, used: str = "0", **context: Any) -> Ruling:
    async def read(call_id: str, shares: Sequence[LimitShare]) -> list[Decimal]:
        return [Decimal(used) for _ in shares]

    spec = ToolSpec("pay", "", {"type": "object", "properties": {"amount": {"type": "number"}}}, Effect.KEYED)
    call = CheckedCall("c", spec, {"amount": amount})
    found: Ruling = await judge.check(
        Checked(Stage.TOOL_CALL, "", replace(GuardContext(agent="a", used=read), **context), call)
    )
    return found


def approval_of(ruling: Ruling, amount: float, under: ApprovalRule) -> dict[str, Any]:
    """Context of the call after it was approved as the ruling asks."""
    spec = ToolSpec("pay", "", {"type": "object"}, Effect.KEYED)
    return {
        "approved_args": frozenset({CheckedCall("c", spec, {"amount": amount}).args_sha256}),
        "approved_for": frozenset(map(asked_about, ruling.verdicts)),
        "approved_under": under,
    }


async def test_a_rule_says_who_decides_about_its_calls() -> None:
    strict = guard(LARGE)
    assert [(one.action, one.approval) for one in (await ruled(strict, 99), await ruled(strict, 101))] == [
        (Action.ALLOW, ANYBODY),
        (Action.ASK, TWO),
    ]


async def test_the_policy_says_it_for_all_calls_that_ask() -> None:
    general = "  approval: {not_starter: true}\n"
    assert (await ruled(guard(general), 5, tainted=True)).approval == OTHER
    both = await ruled(guard(general + LARGE), 101)
    assert (both.action, both.approval) == (Action.ASK, ApprovalRule(persons=2, not_starter=True))


async def test_a_limit_says_it_too() -> None:
    limit = "limits: [{tools: [pay], sum: amount, maximum: 100, action: ask, approval: {persons: 3}}]\n"
    found = [await ruled(guard(more=limit), 60, used) for used in ("0", "50")]
    assert [(one.action, one.approval.persons) for one in found] == [(Action.ALLOW, 1), (Action.ASK, 3)]


async def test_of_a_chain_of_agents_the_strictest_policy_counts() -> None:
    layered = Layered([guard("  approval: {not_starter: true}\n"), guard(LARGE)])
    assert (await ruled(layered, 101)).approval == ApprovalRule(persons=2, not_starter=True)


async def test_what_one_person_approved_needs_two_once_the_rule_does() -> None:
    """Two rules with the same words: which of them holds may change between approval and call."""
    rules = (
        "{tool: pay, reason: a sum}",
        "{tool: pay, argument: amount, above: 100, reason: a sum, approval: {persons: 2}}",
    )
    strict = guard(f"  ask: [{', '.join(rules)}]\n")
    asked = await ruled(strict, 101)
    assert (asked.action, asked.approval) == (Action.ASK, TWO)
    for under, action in ((ANYBODY, Action.ASK), (OTHER, Action.ASK), (TWO, Action.ALLOW)):
        assert (await ruled(strict, 101, **approval_of(asked, 101, under))).action is action


@given(st.lists(RULES | st.none(), max_size=4))
def test_the_strictest_rule_covers_all_and_demands_no_more(rules: list[ApprovalRule | None]) -> None:
    found, demanding = strictest(rules), [rule for rule in rules if rule is not None]
    assert all(found.covers(rule) for rule in demanding)
    assert found.persons in {1, *(rule.persons for rule in demanding)}
    assert not found.not_starter or any(rule.not_starter for rule in demanding)
    assert ANYBODY.covers(found) == (found == ANYBODY)


def test_a_policy_without_it_keeps_its_hash() -> None:
    plain = HEAD + "  ask: [{tool: pay}]\nlimits: [{tools: [pay], count: 3, action: ask}]\n"
    assert "approval" not in str(parse_policy(plain).document.canonical())
    assert "approval" not in str(default_policy().document.canonical())
    hashes = {
        parse_policy(text).sha256
        for text in (
            plain,
            plain.replace("{tool: pay}", "{tool: pay, approval: {persons: 2}}"),
            plain.replace("action: ask", "action: ask, approval: {persons: 2}"),
            plain.replace("  ask", "  approval: {persons: 2}\n  ask"),
        )
    }
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("tools", "more", "field", "told"),
    [
        ("  approval: {persons: 0}\n", "", "tools.approval.persons", "greater than or equal to 1"),
        ("  approval: {persons: 6}\n", "", "tools.approval.persons", "less than or equal to 5"),
        ("  approval: {persons: true}\n", "", "tools.approval.persons", "integer"),
        ("  approval: {not_starter: 1}\n", "", "tools.approval.not_starter", "boolean"),
        ("  approval: {}\n", "", "tools.approval", "demands nothing"),
        ("  approval: {people: 2}\n", "", "tools.approval.people", "people"),
        ("  ask: [{tool: pay, approval: {persons: 1}}]\n", "", "tools.ask.0.approval", "demands nothing"),
        ("", "limits: [{tools: [pay], count: 3, approval: {persons: 2}}]\n", "limits.0", 'needs "action: ask"'),
    ],
)
def test_a_wrong_rule_is_named(tools: str, more: str, field: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy(HEAD + tools + more, "file.yaml")
    assert caught.value.param == field
    assert told in caught.value.message
