"""Dry runs: a pure tool tells the person who decides about a call what it would change."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import structlog

from agent.loop.gate import Gate, passed
from agent.loop.run_dependencies import Toolbox
from agent.run.history import CallState, dump
from flightloop.approvals import DryRun
from flightloop.errors import FlightloopError
from flightloop.events import ToolResult
from flightloop.tool import EVERY_FIELD, Permission, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.evidence.confirmed import shown
from guardrails.rails.calls import BY_EFFECT, BY_TOOL
from guardrails.rails.limits import LABEL
from guardrails.types import CheckedCall, Ruling

log = structlog.get_logger(__name__)
LONGEST_S = 10.0
"""Seconds for a dry run, whatever the tool's own limit is: the approval is requested afterwards."""
MOST_CHARACTERS = 2000
"""Characters of a dry run's result, and of the user's words, that a person is shown."""
CHANGED = "not done, because it would change something else now than what the user has agreed to"
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


async def previewed(
    waits: ToolResult | None, toolbox: Toolbox, gate: Gate, state: CallState, call: CheckedCall, ruling: Ruling
) -> ToolResult | None:
    """The result of a call that waits for the user's yes, with what the call would change in its note. A call that its
    tool would refuse is refused at once. None if what would change isn't known or too long: a person has to decide."""
    if waits is None or waits.to_confirm is None:
        return waits
    told = await dry_run(toolbox, gate, state, call, ruling)
    if told is None:
        return waits
    if told.ok and len(told.text) <= MOST_CHARACTERS:
        return waits.model_copy(update={"note": _readable(told.text)})
    # The model reads the words, so they must be those of a tool in which no stranger writes.
    if told.refused and toolbox.get(told.tool).trusted_fields == EVERY_FIELD:
        return waits.model_copy(update={"error": told.text, "to_confirm": None})
    return None


async def outdated(toolbox: Toolbox, gate: Gate, state: CallState, call: CheckedCall, ruling: Ruling) -> str | None:
    """Why a call is not made although the user has agreed to it; None if it is: it would change something else now
    than the user was told, such as a total that has grown since."""
    line = shown(call)
    if call.spec.dry_run is None or line not in gate.proposal.confirmed:
        return None
    told = await dry_run(toolbox, gate, state, call, ruling)
    same = told is not None and told.ok and _readable(told.text) == gate.proposal.told.get(line)
    return None if same else CHANGED


def _readable(text: str) -> str:
    """A JSON object as a sentence: ``status: processing -> cancelled; pays: 10.00 EUR``."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return "; ".join(f"{name}: {one}" for name, one in value.items()) if isinstance(value, dict) else text


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
    refused = not (outcome.ok or outcome.uncertain or outcome.timed_out or outcome.killed)
    return DryRun(tool=asked.name, ok=outcome.ok, text=shortened(allowed), refused=refused)


def known_to(asked: ToolSpec, arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of a call's arguments for which another tool has a parameter."""
    return {name: value for name, value in arguments.items() if name in asked.parameters.get("properties", {})}


def shortened(text: str) -> str:
    """The text, or its beginning and how much is missing."""
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]} … {len(text) - MOST_CHARACTERS} more characters"
