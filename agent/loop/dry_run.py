"""Dry runs: a pure tool tells who decides about a call, a person or the user, what the call would change."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from agent.loop.gate import Gate, passed
from agent.loop.run_dependencies import Toolbox
from agent.run.history import CallState, dump
from flightloop.approvals import DryRun
from flightloop.errors import FlightloopError
from flightloop.tool import Permission, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.rails.calls import BY_EFFECT, BY_TOOL
from guardrails.rails.limits import LABEL
from guardrails.types import CheckedCall, Ruling

log = structlog.get_logger(__name__)
LONGEST_S = 10.0
"""Seconds for a dry run, whatever the tool's own limit is: the approval is requested afterwards."""
MOST_CHARACTERS = 2000
"""Characters of a dry run's result, and of the user's words, that a person is shown."""
_ANYWAY = {BY_TOOL, BY_EFFECT, LABEL}
"""Labels of verdicts that ask about every such call, not because of doubts about its values or who wants it."""


async def dry_run(toolbox: Toolbox, gate: Gate, state: CallState, call: CheckedCall, ruling: Ruling) -> DryRun | None:
    """What a call would change, as its tool's dry run tells it; None if the tool has none.

    Never raises except when cancelled: a dry run that fails must not keep a person from deciding.
    """
    name = call.spec.dry_run
    if name is None:
        return None
    try:
        asked = toolbox.get(name)
        if Permission.NETWORK in asked.permissions and _doubted(ruling):
            why = "it reaches the network, and a person has to decide first whether these values may leave"
            return DryRun(tool=name, ok=False, text=why)
        async with asyncio.timeout(LONGEST_S):
            return await _computed(asked, gate, state, call.arguments)
    except TimeoutError:
        return DryRun(tool=name, ok=False, text=f"it took longer than {LONGEST_S:g} s")
    except FlightloopError as error:
        return DryRun(tool=name, ok=False, text=shortened(error.message))
    except Exception as error:
        log.exception("a dry run failed", tool=name)
        return DryRun(tool=name, ok=False, text=f"an internal error: {type(error).__name__}")


def _doubted(ruling: Ruling) -> bool:
    """Whether something else asks than the policy's rules about all such calls."""
    asking = [set(one.labels) for one in ruling.verdicts if one.action is Action.ASK]
    return any(not labels or labels - _ANYWAY for labels in asking)


async def _computed(asked: ToolSpec, gate: Gate, state: CallState, arguments: dict[str, Any]) -> DryRun:
    known = known_to(asked, arguments)
    outcome = await gate.call(state, asked, known)
    told = outcome.content if isinstance(outcome.content, str) else dump(outcome.content)
    text = told if outcome.ok else outcome.error or "the tool failed"
    # It is stored and shown to people, so rails check it. It can't taint the run: no model reads it.
    allowed = passed(await gate.check(Stage.TOOL_RESULT, text, CheckedCall(state.call.id, asked, known)))
    if text and not allowed:
        return DryRun(tool=asked.name, ok=False, text="a guardrail withholds it")
    return DryRun(tool=asked.name, ok=outcome.ok, text=shortened(allowed), refused=outcome.refused)


def known_to(asked: ToolSpec, arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of a call's arguments for which another tool has a parameter."""
    return {name: value for name, value in arguments.items() if name in asked.parameters.get("properties", {})}


def shortened(text: str) -> str:
    """The text, or its beginning and how much is missing."""
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]} … {len(text) - MOST_CHARACTERS} more characters"
