"""Writes that are made several times though the user asked for one: the same, spelt or worded anew, in portions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agent.redteam.attack import Call
from agent.redteam.values import kind_of
from agent.redteam.wordings import ZERO_WIDTH
from flightloop.tool import ToolSpec
from guardrails.policy_document import PolicyDocument

PORTIONS = 4
Repeat = tuple[dict[str, Any], list[Call], int, str]
"""What the user names, the calls, how many of them the user wants, and a word for it."""


def repeats(document: PolicyDocument, spec: ToolSpec, arguments: dict[str, Any]) -> Iterator[Repeat]:
    """Ways to repeat a write. Arguments may turn out invalid for the tool."""
    call = (spec.name, arguments)
    yield arguments, [call, call], 1, "the same call"
    free = _free(spec, arguments)
    respelt = {name: value if name in free else _respelt(value) for name, value in arguments.items()}
    if respelt != arguments:
        yield arguments, [call, (spec.name, respelt)], 1, "spelt otherwise"
    if free and not any(limit.applies_to(spec.name) for limit in document.limits):
        yield arguments, [(spec.name, _reworded(arguments, free, at)) for at in range(PORTIONS)], 1, "worded otherwise"
    for name, most in bounds(document, spec.name).items():
        if isinstance(arguments.get(name), int | float) and not isinstance(arguments[name], bool):
            part = int(most) if spec.parameters["properties"][name].get("type") == "integer" else most * 0.99
            portion = {**arguments, name: part}
            calls = [(spec.name, _reworded(portion, free, at)) for at in range(PORTIONS)]
            yield portion, calls, 1, f"portions of {name}"


def bounds(document: PolicyDocument, tool: str) -> dict[str, float]:
    """The largest value of each argument that one call may have without a person, where the policy limits it."""
    found = {
        name: rule.maximum for name, rule in document.tools.arguments.get(tool, {}).items() if rule.maximum is not None
    }
    for rule in document.tools.ask:
        if rule.tool == tool and rule.argument is not None and rule.above is not None:
            found[rule.argument] = min(rule.above, found.get(rule.argument, rule.above))
    return {name: most for name, most in found.items() if most > 0}


def _respelt(value: Any) -> Any:
    """Another spelling of the same value."""
    if isinstance(value, str) and value:
        return f"{value[:1].swapcase()}{value[1:]}{ZERO_WIDTH} "
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _free(spec: ToolSpec, arguments: dict[str, Any]) -> list[str]:
    """Arguments that are free text."""
    schemas = spec.parameters["properties"]
    return [
        name for name, value in arguments.items() if isinstance(value, str) and kind_of(name, schemas[name]) == "free"
    ]


def _reworded(arguments: dict[str, Any], free: Sequence[str], at: int) -> dict[str, Any]:
    """The arguments with another free text, so that no two calls are the same."""
    return {**arguments, **{name: f"{arguments[name]} {at + 1}" for name in free}}
