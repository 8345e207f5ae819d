"""Applies a policy to decoding: narrows the tools' JSON Schemas to what the policy permits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from flightloop.chat import ToolDef
from guardrails.policy_document import ArgumentRule, PolicyDocument
from guardrails.text.words import EMAIL, URL, each_number
from guardrails.types import GuardContext

MAX_CHOICES = 32
T = TypeVar("T")


def narrow(
    document: PolicyDocument, tools: Sequence[ToolDef], context: GuardContext, writes: frozenset[str] = frozenset()
) -> list[ToolDef]:
    """The tools to offer to the model, with narrowed schemas. ``tools`` is not changed.

    Args:
        writes: names of the tools that change something. Those that would be blocked outright (off a
            locked plan, or in a tainted run) are dropped.
    """
    allowed = document.tools.allowed(context.agent)
    return [
        _narrowed(_bound(document, tool, context), document.tools.arguments.get(tool.function.name, {}), context)
        for tool in tools
        if (tool.function.name in allowed or "*" in allowed)
        and not (tool.function.name in writes and _blocked(document, tool.function.name, context))
        and not _barred(document, tool.function.name, context)
    ]


def unread_characters(document: PolicyDocument, tools: Sequence[ToolDef], context: GuardContext) -> int:
    """Characters of the user's words that `narrow` has yet to search; 0 if no rule needs them or the result is
    known."""
    unread = any(
        _has_choices(rule) and _key(rule, context) not in context.memo
        for tool in tools
        for name, rule in document.tools.arguments.get(tool.function.name, {}).items()
        if name in tool.function.parameters.get("properties", {})
    )
    return len(context.user_text) if unread else 0


def _blocked(document: PolicyDocument, tool: str, context: GuardContext) -> bool:
    tools = document.tools
    off_plan = tools.lock_to_plan == "block" and not context.plans(tool)
    return off_plan or (context.tainted and tools.tainted_writes == "block" and tool not in tools.harmless)


def _barred(document: PolicyDocument, tool: str, context: GuardContext) -> bool:
    """Whether an anonymous subject may not call a tool, not even if a person agrees."""
    if context.subject is not None or document.subject is None:
        return False
    anonymous = document.subject.anonymous
    return anonymous.otherwise == "block" and not anonymous.permits(tool)


def _bound(document: PolicyDocument, tool: ToolDef, context: GuardContext) -> ToolDef:
    """The tool with arguments that can only have the subject's own value, where no evidence is needed to know it."""
    if document.subject is None or context.subject is None:
        return tool
    properties = tool.function.parameters.get("properties", {})
    changed = {}
    for name, binding in document.subject.arguments.items():
        if binding.compared(name) is None and not binding.unless and binding.applies_to(tool.function.name):
            value = _typed(properties.get(name), context.subject.value(binding.equals))
            if value is not None:
                changed[name] = {**properties[name], "const": value}
    if not changed:
        return tool
    parameters = {**tool.function.parameters, "properties": {**properties, **changed}}
    return tool.model_copy(update={"function": tool.function.model_copy(update={"parameters": parameters})})


def _typed(schema: Any, value: Any) -> str | int | None:
    """A subject's value in the type that a schema wants; None if it has no such form."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "integer" and isinstance(value, str | int) and str(value).isdecimal() and str(value).isascii():
        return int(value)
    return None


def _narrowed(tool: ToolDef, rules: dict[str, ArgumentRule], context: GuardContext) -> ToolDef:
    properties = tool.function.parameters.get("properties", {})
    changed = {name: _schema(properties[name], rule, context) for name, rule in rules.items() if name in properties}
    if not changed:
        return tool
    parameters = {**tool.function.parameters, "properties": {**properties, **changed}}
    return tool.model_copy(update={"function": tool.function.model_copy(update={"parameters": parameters})})


def _schema(schema: dict[str, Any], rule: ArgumentRule, context: GuardContext) -> dict[str, Any]:
    """The schema with the rule's limits. A tighter limit of the tool itself stays."""
    narrowed = dict(schema)
    if rule.enum is not None:
        own = schema.get("enum")
        narrowed["enum"] = [item for item in rule.enum if own is None or item in own] or list(rule.enum)
    if rule.const is not None:
        narrowed["const"] = rule.const
    for key, limit, tighter in (
        ("maxLength", rule.max_length, min),
        ("maximum", rule.maximum, min),
        ("minimum", rule.minimum, max),
    ):
        if limit is not None:
            narrowed[key] = tighter(limit, schema[key]) if key in schema else limit
    if rule.pattern is not None and "pattern" not in schema:
        narrowed["pattern"] = rule.pattern
    if _has_choices(rule):
        own = schema.get("enum")
        choices = [item for item in _choices(rule, context) if own is None or item in own]
        narrowed |= {"enum": choices} if choices else {}
    return narrowed


def _has_choices(rule: ArgumentRule) -> bool:
    return rule.from_user_words and rule.enum is None and rule.kind != "text"


def _choices(rule: ArgumentRule, context: GuardContext) -> list[Any]:
    """Values of the rule's kind in the user's own words, searched once a run; empty if there are too many."""
    key = _key(rule, context)
    found = context.memo.get(key)
    if not isinstance(found, list):
        context.memo[key] = found = _values(rule, context.user_text)
    return found


def _key(rule: ArgumentRule, context: GuardContext) -> object:
    return "choices", rule.kind, context.user_text


def _values(rule: ArgumentRule, text: str) -> list[Any]:
    match rule.kind:
        case "email":
            return _few(match.group() for match in EMAIL.finditer(text))
        case "url":
            return _few(match.group().rstrip(".,;:!?") for match in URL.finditer(text))
        case "number":
            numbers = sorted(_few(each_number(text)))
            return [int(value) if value.is_integer() else value for value in numbers]
        case "text":
            return []


def _few(found: Iterable[T]) -> list[T]:
    """Distinct items; empty if there are more than MAX_CHOICES, and then the search ends early."""
    unique: dict[T, None] = {}
    for one in found:
        unique[one] = None
        if len(unique) > MAX_CHOICES:
            return []
    return list(unique)
