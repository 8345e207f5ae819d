"""Rails that bind a run to its subject: calls name the subject's own objects only, and rows of others are withheld."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from flightloop.verdicts import Action, Verdict
from guardrails.evidence.ownership import Ownership
from guardrails.rails.calls import Problem, call_of, judgement_of
from guardrails.rails.filled import filled, has_unknown_default
from guardrails.rails.subject_rows import Rows
from guardrails.subject_policy import Binding, SubjectPolicy
from guardrails.types import Checked, Judgement, NoEvidence, Rail

RAIL = "subject"
_END = re.compile(r"(?<=.)_(?:id|no|nr|number)$", re.IGNORECASE)
_PLAIN = re.compile(r"[\w.#/-]{1,40}")
"""Values that a reason may repeat: numbers and the like, but no sentences."""
ALL_WITHHELD = "The result was withheld: it is not about the user on whose behalf this run acts."


def calls_rail(policy: SubjectPolicy) -> Rail:
    """Blocks calls that name another's object, and calls that an anonymous subject may not make."""

    async def check(checked: Checked) -> Judgement:
        call, context = call_of(checked), checked.context
        tool = call.spec.name
        problems: list[Problem] = []
        softer = Action.BLOCK if context.subject is not None else Action(policy.anonymous.otherwise)
        if context.subject is None and not policy.anonymous.permits(tool):
            problems.append((softer, "anonymous", f"an anonymous user may not call {tool}: the user has to sign in"))
        bindings = {name: binding for name, binding in policy.arguments.items() if binding.applies_to(tool)}
        for name in bindings:
            if name not in call.arguments and has_unknown_default(call, name):
                told = f"{name} must be given: it is bound to the subject, and its default is not known"
                problems.append((Action.BLOCK, "subject", told))
        left_out: dict[str, Any] = {}
        async for name, problem in _unproven(checked, policy, bindings):
            if tool in bindings[name].left_out_in and name in call.arguments:
                left_out[name] = bindings[name].unless[0]
            else:
                problems.append(problem)
        if not left_out or problems:
            return judgement_of(RAIL, checked, problems)
        reason = f"left out, because it is not known to belong to the user: {', '.join(left_out)}"
        verdict = Verdict(action=Action.REDACT, rail=RAIL, stage=checked.stage, reason=reason, labels=["left_out"])
        return Judgement((verdict,), arguments={**call.arguments, **left_out})

    return check


async def _unproven(
    checked: Checked, policy: SubjectPolicy, bindings: dict[str, Binding]
) -> AsyncIterator[tuple[str, Problem]]:
    """Bound arguments of a call that are not known to be the subject's, each with what is to be done about it."""
    ownership, anonymous = Ownership(checked.context), checked.context.subject is None
    for name, value in _named(filled(call_of(checked)), bindings):
        told = _not_owned(name, value, bindings[name], anonymous=anonymous)
        try:
            if not await ownership.owns(bindings[name], name, value):
                yield name, (Action(policy.anonymous.otherwise) if anonymous else Action.BLOCK, "subject", told)
        except NoEvidence:  # told in the same words: who asks learns nothing about objects of others
            yield name, (Action.BLOCK, "no_evidence", told)


def results_rail(policy: SubjectPolicy) -> Rail:
    """Withholds rows of a result that are not the subject's. The model reads a statement in their place."""

    async def check(checked: Checked) -> Judgement:
        tool = checked.call.spec.name if checked.call else ""
        bindings = {name: one for name, one in policy.results.items() if one.applies_to(tool)}
        if not bindings:
            return Judgement()
        rows = Rows(bindings, Ownership(checked.context))
        text = await rows.text(checked.text)
        if not rows.withheld:
            return judgement_of(RAIL, checked, [])
        reason = f"{rows.withheld} {'row is' if rows.withheld == 1 else 'rows are'} not the subject's"
        verdict = Verdict(
            action=Action.REDACT, rail=RAIL, stage=checked.stage, reason=reason, labels=["another_subject"]
        )
        return Judgement((verdict,), text=ALL_WITHHELD if text is None else text)

    return check


def _not_owned(name: str, value: Any, binding: Binding, *, anonymous: bool) -> str:
    """The reason, in words that a model may repeat to the user: "order 17 is not one of yours"."""
    if not anonymous:
        called = f"{_END.sub('', name).replace('_', ' ')} {value}" if _PLAIN.fullmatch(str(value)) else f"this {name}"
        return f"{called} is not one of yours"
    fields = [field for field in binding.anonymous if field != "*"]
    if not fields:
        return f"{name}: the user has to sign in"
    asked = " or ".join(_END.sub(" number", field).replace("_", " ") for field in fields)
    which = f"Which {_END.sub('', name).replace('_', ' ')} is it?"
    return f"{name} is not known to belong to the user. Answer: {which} Please tell me your {asked}."


def _named(value: Any, names: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values of bound names, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in names:
                yield key, inner
            yield from _named(inner, names)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner, names)
