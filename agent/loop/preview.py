"""What the user is told that a call would change: in the question, and again before the call is made."""

from __future__ import annotations

import json

from agent.loop.confirmation import asking
from agent.loop.dry_run import MOST_CHARACTERS, dry_run
from agent.loop.gate import Gate
from agent.loop.run_dependencies import Toolbox
from agent.run.history import CallState
from flightloop.approvals import DryRun
from flightloop.events import ToolResult
from flightloop.tool import EVERY_FIELD
from guardrails.evidence.confirmed import seen, shown
from guardrails.types import CheckedCall, Ruling

CHANGED = "not done, because it would change something else now than what was approved. Tell the user"
UNFORESEEN = "not done, because it is not known what it would change now. Tell the user, who may ask for it again"


async def previewed(
    waits: ToolResult | None, toolbox: Toolbox, gate: Gate, state: CallState, call: CheckedCall, ruling: Ruling
) -> ToolResult | None:
    """The result of a call that waits for the user's yes, with what the call would change in its note. A call that its
    tool would refuse is refused at once. None if what would change isn't known or too long: a person has to decide."""
    if waits is None or waits.to_confirm is None:
        return waits
    told = await dry_run(toolbox, gate, state, call, ruling)
    return waits if told is None else _foretold(waits, told, toolbox)


async def outdated(
    toolbox: Toolbox, gate: Gate, state: CallState, call: CheckedCall, ruling: Ruling
) -> ToolResult | None:
    """The result of a call to which somebody has agreed, but which would change something else now than they were told,
    such as a total that has grown. The user is asked anew; a person is, if the call is wanted again. None: the call may
    be made."""
    line, approved = shown(call), state.request.dry_run if state.request is not None else None
    if call.spec.dry_run is None or (approved is None and line not in gate.proposal.confirmed):
        return None
    if approved is not None and not approved.ok:
        return None  # who decided knew that nothing could be foreseen
    told = await dry_run(toolbox, gate, state, call, ruling)
    if approved is not None:
        same = told is not None and (told.refused or (told.ok, told.text) == (approved.ok, approved.text))
        return None if same else asking(call).model_copy(update={"error": CHANGED, "to_confirm": None})
    again = None if told is None else _foretold(asking(call), told, toolbox)
    if again is None:
        return asking(call).model_copy(update={"error": UNFORESEEN, "to_confirm": None})
    same = again.to_confirm is not None and again.note == gate.proposal.told.get(line)
    return None if same else again


def _foretold(waits: ToolResult, told: DryRun, toolbox: Toolbox) -> ToolResult | None:
    """The waiting result with what the dry run told, or its refusal; None if it told nothing that can be shown."""
    if told.ok and len(told.text) <= MOST_CHARACTERS:
        return waits.model_copy(update={"note": seen(_readable(told.text))})
    # The model reads the words, so they must be those of a tool in which no stranger writes.
    if told.refused and toolbox.get(told.tool).trusted_fields == EVERY_FIELD:
        return waits.model_copy(update={"error": told.text, "to_confirm": None})
    return None


def _readable(text: str) -> str:
    """A JSON object as a sentence: ``status: processing -> cancelled; pays: 10.00 EUR``."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return "; ".join(f"{name}: {one}" for name, one in value.items()) if isinstance(value, dict) else text
