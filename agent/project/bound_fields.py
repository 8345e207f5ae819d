"""Warns of a binding to the subject whose field looks misspelt.

A binding in ``subject.results`` protects the rows that have its field. Tools do not declare their fields, so an unknown
one is no error. But a misspelt one would bind nothing, without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import structlog

from flightloop.tool import EVERY_FIELD
from guardrails.policy import Policy
from guardrails.yaml_document import YamlDocument
from tools.registry import Registry

log = structlog.get_logger(__name__)

SIMILAR = 0.8
"""Least similarity of a misspelt name (difflib's ratio): oder_id and order_id have 0.93, tenant and text 0.6."""


def warn_of_misspelt(written: YamlDocument, policy: Policy, registry: Registry) -> None:
    """Warns of each bound field that the tools' arguments and trusted fields lack, where they have a similar one."""
    bindings = policy.document.subject
    known = {name for spec in registry.specs() for name in (*_arguments(spec.parameters), *spec.trusted_fields)}
    known -= set(EVERY_FIELD)
    for name in bindings.results if bindings else ():
        similar = () if name in known else get_close_matches(name, known, 1, SIMILAR)
        for other in similar:
            where = f"subject.results.{name}"
            told = f"{written.at(where.split('.'))}: {where}: no tool names such a field; did you mean {other}?"
            log.warning("the policy binds a field that may be misspelt", told=told)


def _arguments(schema: Any) -> Iterator[str]:
    """Names of properties at any depth of a JSON Schema."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        yield from properties if isinstance(properties, dict) else ()
        for part in schema.values():
            yield from _arguments(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _arguments(part)
