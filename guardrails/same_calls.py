"""Compares a call with earlier ones, outside the event loop.

Earlier arguments have to be converted by the current schema, which takes milliseconds if they are long.
"""

from __future__ import annotations

from collections.abc import Iterable

from guardrails.aside import LONG, aside
from guardrails.types import CheckedCall, Write


async def may_be_done(call: CheckedCall, writes: Iterable[Write]) -> bool:
    """Whether one of the writes may be this call, and may have had its effect."""
    same_tool = _of_same_tool(call, writes)
    return await aside(LONG if same_tool else 0, call.may_be_done, same_tool)


async def is_among(call: CheckedCall, writes: Iterable[Write]) -> bool:
    """Whether one of the writes is this call."""
    same_tool = _of_same_tool(call, writes)
    return await aside(LONG if same_tool else 0, _is_one_of, call, same_tool)


def _of_same_tool(call: CheckedCall, writes: Iterable[Write]) -> list[Write]:
    return [write for write in writes if write.tool == call.spec.name]


def _is_one_of(call: CheckedCall, writes: list[Write]) -> bool:
    return any(call.is_same(write.tool, write.args_sha256, write.arguments) for write in writes)
