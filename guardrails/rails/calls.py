"""Rails of stage tool_call and of the plan: which tools may be called, and with which arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import regex

from flightloop.patterns import to_the_end
from flightloop.tool import Permission, ToolSpec
from flightloop.verdicts import Action, Verdict
from guardrails.approval_rule import strictest
from guardrails.aside import aside
from guardrails.evidence.acts import changes_something
from guardrails.evidence.amounts import exceeds, is_number
from guardrails.evidence.confirmed import BY_USER, unconfirmed
from guardrails.evidence.foreseen import unforeseen
from guardrails.evidence.origins import Origins
from guardrails.policy_document import ArgumentRule, AskRule, PolicyDocument
from guardrails.rails.filled import filled, has_unknown_default
from guardrails.text.scalars import scalar_texts
from guardrails.text.spelling import most_characters
from guardrails.text.words import stands_in
from guardrails.types import Checked, CheckedCall, GuardContext, Judgement, Rail, severest

Problem = tuple[Action, str, str]
"""Action, label, reason."""

BY_TOOL, BY_EFFECT = "ask", "effect"
"""Labels of verdicts that ask because a rule of ``tools.ask`` names the tool, or its declared effect."""


def arguments_rail(document: PolicyDocument) -> Rail:
    """Checks the allow-list, the plan lock, argument rules and ask rules."""

    async def check(checked: Checked) -> Judgement:
        call, context = call_of(checked), checked.context
        done_in = await _done_in(document, context, call)

        def found() -> tuple[list[Problem], list[AskRule]]:
            asking = [rule for rule in document.tools.ask if _applies(rule, context, call)]
            problems = [
                *_not_allowed(document, context, call.spec.name),
                *_off_plan(document, context, call, done_in),
                *_broken_rules(document, context, call),
                *(_asked(rule, call) for rule in asking),
            ]
            return problems, asking

        reads = document.tools.reads_evidence(call.spec.name, call.spec.effect)
        problems, asking = await aside(characters_of(checked, evidence=reads), found)
        judgement = judgement_of("arguments", checked, problems)
        return replace(judgement, approval=strictest(rule.approval for rule in asking))

    return check


def origin_rail(document: PolicyDocument) -> Rail:
    """Checks where a sink argument's value comes from, and whether a tainted run may write."""

    async def check(checked: Checked) -> Judgement:
        call, context = call_of(checked), checked.context
        problems: list[Problem] = []
        if call.spec.sinks and document.tools.sinks is not Action.ALLOW:
            for name in await aside(characters_of(checked, evidence=True), _unknown_sinks, call, context):
                reason = f"{name} occurs neither in the user's words nor in a trusted tool's result"
                problems.append((document.tools.sinks, "sink", reason))
        watched = call.spec.writes and call.spec.name not in document.tools.harmless
        if context.tainted and watched and document.tools.tainted_writes is not Action.ALLOW:
            reason = "a tool result looked like an instruction, and this call changes something"
            problems.append((document.tools.tainted_writes, "tainted", reason))
        return judgement_of("origin", checked, problems)

    return check


def plan_rail(document: PolicyDocument) -> Rail:
    """Checks that a plan names only tools that its agent may call."""

    async def check(checked: Checked) -> Judgement:
        problems = [
            problem for tool in checked.context.plan for problem in _not_allowed(document, checked.context, tool)
        ]
        return judgement_of("plan", checked, problems)

    return check


def violation(rule: ArgumentRule, value: Any) -> str | None:
    """Reason why a value breaks a rule; None if it doesn't. ``from_user_words`` isn't checked here."""
    checks = (
        (rule.enum is None or any(_same(value, item) for item in rule.enum), f"is not one of {rule.enum}"),
        (rule.const is None or _same(value, rule.const), f"is not {rule.const!r}"),
        (rule.max_length is None or _length(value) <= rule.max_length, f"is longer than {rule.max_length} characters"),
        (rule.minimum is None or (is_number(value) and value >= rule.minimum), f"is not at least {rule.minimum}"),
        (rule.maximum is None or (is_number(value) and value <= rule.maximum), f"is not at most {rule.maximum}"),
        (rule.pattern is None or _matches(rule.pattern, value), f"does not match {rule.pattern}"),
    )
    return next((reason for good, reason in checks if not good), None)


def characters_of(checked: Checked, *, evidence: bool = False) -> int:
    """Characters to search: the arguments, and with ``evidence`` the texts that they are looked up in."""
    own = sum(map(most_characters, scalar_texts(call_of(checked).arguments)))
    return own + checked.context.characters if evidence else own


def _unknown_sinks(call: CheckedCall, context: GuardContext) -> list[str]:
    """Sink arguments whose values have no trusted origin."""
    given = {
        name: scalar_texts(call.arguments[name]) for name in call.spec.sinks if call.arguments.get(name) is not None
    }
    origins = Origins.of(context) if given else None
    return [name for name, values in given.items() if origins and not all(map(origins.vouches_for, values))]


def call_of(checked: Checked) -> CheckedCall:
    """The checked call.

    Raises:
        ValueError: the check has none.
    """
    if checked.call is None:
        raise ValueError("stage tool_call needs a call")
    return checked.call


def stays_here(spec: ToolSpec) -> bool:
    """Whether a call's arguments can't leave: the tool only reads, has no network, and names no destination."""
    return not (spec.writes or Permission.NETWORK in spec.permissions or spec.sinks)


def _not_allowed(document: PolicyDocument, context: GuardContext, tool: str) -> Iterator[Problem]:
    allowed = document.tools.allowed(context.agent)
    if tool not in allowed and "*" not in allowed:
        yield Action.BLOCK, "allow_list", f"{tool} is not allowed for agent {context.agent!r}"


def _off_plan(
    document: PolicyDocument, context: GuardContext, call: CheckedCall, done_in: frozenset[str]
) -> Iterator[Problem]:
    tools = document.tools
    if not call.spec.writes or tools.lock_to_plan == "off":
        return
    if tools.lock_to_plan in ("auto", "confirm"):
        if _may_be_suggested(document, call):
            yield from _suggested(tools.lock_to_plan, context, call, done_in)
    elif not context.plans(call.spec.name):
        yield Action(tools.lock_to_plan), "plan", f"{call.spec.name} changes something and is not in the plan"


def _suggested(lock: str, context: GuardContext, call: CheckedCall, done_in: frozenset[str]) -> Iterator[Problem]:
    """Asks about a write that strangers may have suggested."""
    if lock == "confirm":
        if (reason := unconfirmed(context, call)) is not None:
            yield Action.ASK, BY_USER, reason
    elif (reason := unforeseen(context, call, done_in)) is not None:
        yield Action.ASK, "plan", reason


def _may_be_suggested(document: PolicyDocument, call: CheckedCall) -> bool:
    """Whether a write is one that strangers' text must not cause."""
    watched = call.spec.writes and call.spec.name not in document.tools.harmless and call.spec.agent is None
    return watched and changes_something(call.spec)


async def _done_in(document: PolicyDocument, context: GuardContext, call: CheckedCall) -> frozenset[str]:
    """Earlier runs of the session that made a write with the call's tool."""
    if len(context.said) < 2 or document.tools.lock_to_plan != "auto" or not _may_be_suggested(document, call):
        return frozenset()
    past = await context.past(tool=call.spec.name)
    return frozenset(one.run_id for one in past.writes if one.may_be_done)


def _broken_rules(document: PolicyDocument, context: GuardContext, call: CheckedCall) -> Iterator[Problem]:
    given = filled(call)
    for name, rule in document.tools.arguments.get(call.spec.name, {}).items():
        if name not in given:
            if has_unknown_default(call, name):
                why = "must be given: the policy limits it, and its default is not known"
                yield Action.BLOCK, "argument", f"{name} {why}"
            continue
        value = given[name]
        if reason := violation(rule, value):
            yield Action.BLOCK, "argument", f"{name} {reason}"
        # An empty text is no word of the user's; some tools take it to mean everything.
        blank = name in call.arguments and isinstance(value, str) and not value.strip()
        if rule.from_user_words and (blank or not stands_in(value, (context.user_text,))):
            yield Action.BLOCK, "argument", f"{name} does not occur in the user's own words"


def _applies(rule: AskRule, context: GuardContext, call: CheckedCall) -> bool:
    """Whether the rule asks about the call."""
    named = call.spec.name == rule.tool or call.spec.effect is rule.effect
    return named and _is_unsure(rule, call) and exceeds(rule, filled(call), context)


def _asked(rule: AskRule, call: CheckedCall) -> Problem:
    why = f"the policy wants a person to decide about {call.spec.name}"
    if rule.confidence_below is not None:
        why += f": the model gives its calls a probability of {call.confidence:.0%}"
    return Action.ASK, BY_EFFECT if rule.effect else BY_TOOL, rule.reason or why


def _is_unsure(rule: AskRule, call: CheckedCall) -> bool:
    """Whether the model is as unsure as the rule demands."""
    if rule.confidence_below is None:
        return True
    return call.confidence is not None and call.confidence < rule.confidence_below


def judgement_of(rail: str, checked: Checked, problems: list[Problem]) -> Judgement:
    """One verdict with the severest action and all reasons; it allows if there is no problem."""
    verdict = Verdict(
        action=severest(action for action, _, _ in problems),
        rail=rail,
        stage=checked.stage,
        reason="; ".join(dict.fromkeys(reason for _, _, reason in problems)),
        labels=list(dict.fromkeys(label for _, label, _ in problems)),
    )
    return Judgement((verdict,))


def _same(value: Any, wanted: Any) -> bool:
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else len(str(value))


def _matches(pattern: str, value: Any) -> bool:
    return isinstance(value, str) and regex.search(to_the_end(pattern), value, timeout=0.05) is not None
