"""What closes a hole: the line of the policy, or the declaration of the tool."""

from __future__ import annotations

from collections.abc import Iterator

from agent.redteam.attack import ANSWER, Attack, Family
from agent.redteam.repeats import bounds
from agent.redteam.target import Target
from flightloop.verdicts import Action
from guardrails.policy_document import PolicyDocument

_OF_RESULTS = (Family.INJECTED_WRITE, Family.FORGED_APPROVAL, Family.CALL_MARKUP)
_OF_VALUES = (Family.FOREIGN_VALUE, Family.DESTINATION, Family.INVENTED_VALUE)


def advice(attack: Attack, target: Target) -> list[str]:
    """Lines for the policy, or changes of a tool's declaration, that stop an attack; the most specific first."""
    document = target.policy.document
    if attack.family in _OF_RESULTS:
        return list(_against_injections(attack, target, document))
    if attack.family in _OF_VALUES:
        return list(_against_values(attack, document))
    if attack.family is Family.OTHER_SUBJECT:
        return [f"subject.arguments.{attack.argument}: bind it for {attack.tool}, with evidence of the owner"]
    if attack.family is Family.REPEATED_WRITE:
        return list(_against_repeats(attack, document))
    return list(_against_leaks(attack, document))


def _against_injections(attack: Attack, target: Target, document: PolicyDocument) -> Iterator[str]:
    reader = next((spec for spec in target.readers if spec.name == attack.reader), None)
    if reader is not None and not reader.returns_untrusted:
        yield (
            f"@tool(returns_untrusted=True) on {reader.name}, with the trusted_fields that strangers can't write; or"
            " returns_untrusted=False, if they can write none of its results"
        )
    tools = document.tools
    if tools.lock_to_plan == "off":
        yield "tools.lock_to_plan: auto"
    yield from (
        f"tools.{name}: ask" for name in ("provenance", "tainted_writes") if getattr(tools, name) is Action.ALLOW
    )
    yield f"tools.ask: [{{tool: {attack.tool}}}]"


def _against_values(attack: Attack, document: PolicyDocument) -> Iterator[str]:
    if document.tools.provenance is Action.ALLOW:
        yield "tools.provenance: ask"
    if attack.family is Family.DESTINATION:
        if document.tools.sinks is Action.ALLOW:
            yield "tools.sinks: ask"
        yield f'@tool(sinks=("{attack.argument}",)) on {attack.tool}'
    if attack.argument is not None:
        yield f"tools.arguments.{attack.tool}.{attack.argument}: {{from: [user, record], otherwise: block}}"
    yield f"tools.ask: [{{tool: {attack.tool}}}]"


def _against_repeats(attack: Attack, document: PolicyDocument) -> Iterator[str]:
    if attack.detail.startswith("portions of "):
        name = attack.detail.removeprefix("portions of ")
        most = f"{bounds(document, attack.tool)[name]:g}"  # more would let two portions pass
        yield f"limits: [{{tools: [{attack.tool}], sum: {name}, per: [subject, day], maximum: {most}, action: ask}}]"
        return
    if document.tools.repeated_writes is Action.ALLOW:
        yield "tools.repeated_writes: ask"
    yield f"limits: [{{tools: [{attack.tool}], count: 1, per: [session], action: ask}}]"


def _against_leaks(attack: Attack, document: PolicyDocument) -> Iterator[str]:
    if attack.tool == ANSWER:
        yield "stages.final.rails and stages.stream.rails: add {rail: links}"
        return
    if document.egress.arguments is Action.ALLOW:
        yield "egress.arguments: ask"
    yield f"tools.arguments.{attack.tool}.{attack.argument}: {{from: [user, record]}}"
