"""Checks the arguments of an answer's calls against the schemas that the caller declared.

A grammar can't express every keyword, and not every model's server decodes by a grammar.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jsonschema import SchemaError

from flightloop.chat import ToolCall, ToolDef
from guardrails.aside import LONG, aside, on_behalf_of
from guardrails.placeholders.marks import marks
from tools.registry import EXPENSIVE, problems_of
from tools.validation import check_schema, validator_of, weight

_CACHED = 256


async def problem_of(
    calls: Sequence[ToolCall],
    tools: Sequence[ToolDef],
    schemas: Mapping[str, Mapping[str, Any]],
    tenant_id: str,
    *,
    last: bool = False,
) -> str | None:
    """The first problem with the calls' arguments, worded for the model's next attempt; None if there is none.

    Not checked are calls of tools with ``strict: false`` or with a schema that isn't valid JSON Schema 2020-12, calls
    of tools that were not offered, and arguments that are no JSON object: no rail lets the latter two pass. Neither are
    arguments with placeholders, which may stand for any text.

    Args:
        tools: the tools that were offered.
        schemas: parameters by tool name, as the caller declared them.
        tenant_id: slow checks take turns between tenants.
        last: whether the model is not asked again. Then only calls of tools with ``strict: true`` are checked; the
            caller gets others as the model made them.
    """
    checked = {
        tool.function.name for tool in tools if tool.function.strict or (tool.function.strict is None and not last)
    }
    for call in calls:
        name = call.function.name
        if any(marks(call.function.arguments)):
            continue
        if name in checked and (problem := await _problem(call, schemas[name], tenant_id)):
            return f"it called {name} with wrong arguments: {problem}"
    return None


async def _problem(call: ToolCall, schema: Mapping[str, Any], tenant_id: str) -> str | None:
    validator, heavy = _checker(json.dumps(schema))
    try:
        arguments = call.function.parsed()
    except ValueError:
        return None
    if validator is None:
        return None
    expensive = heavy * len(call.function.arguments) > EXPENSIVE
    with on_behalf_of(tenant_id):
        problems = await aside(LONG if expensive else 0, problems_of, validator, arguments)
    return problems[0] if problems else None


@lru_cache(maxsize=_CACHED)
def _checker(schema: str) -> tuple[Any, float]:
    """Validator of a schema, None if it is invalid, and the schema's weight."""
    parameters = json.loads(schema)
    try:
        check_schema(parameters)
    except SchemaError:
        return None, 0.0
    return validator_of(parameters), weight(parameters)
