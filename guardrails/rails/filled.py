"""Arguments of a call with the tool's defaults."""

from __future__ import annotations

from typing import Any

from guardrails.types import CheckedCall


def filled(call: CheckedCall) -> dict[str, Any]:
    """The arguments, with the tool's defaults for those that are left out."""
    declared = call.spec.parameters.get("properties", {})
    defaults = {name: one["default"] for name, one in declared.items() if isinstance(one, dict) and "default" in one}
    return {**defaults, **call.arguments}


def has_unknown_default(call: CheckedCall, name: str) -> bool:
    """Whether an argument's default is known only to the tool's code (``default_factory``) or to a server."""
    declared = call.spec.parameters.get("properties", {}).get(name)
    required = call.spec.parameters.get("required", ())
    return isinstance(declared, dict) and "default" not in declared and name not in required
