"""The user's own yes to a call that strangers may have suggested: how the call is shown, and whether it has the yes."""

from __future__ import annotations

import json
from typing import Any

from flightloop.verdicts import Action
from guardrails.approval_rule import ANYBODY
from guardrails.evidence.foreseen import suggested_by
from guardrails.types import CheckedCall, GuardContext, Ruling

BY_USER = "confirm"
"""Label of a verdict that asks for the user's own yes."""


def shown(call: CheckedCall) -> str:
    """A call as the user is asked about it, in one line that no other call has: ``refund order: order id 10073``."""
    given = ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in call.arguments.items())
    return f"{call.spec.name.replace('_', ' ')}: {given}" if given else call.spec.name.replace("_", " ")


def left_to_user(ruling: Ruling) -> bool:
    """Whether the user's own yes is all that a call needs: nothing else asks, and no rule says who must decide."""
    asking = [one for one in ruling.verdicts if one.action is Action.ASK]
    return bool(asking) and ruling.approval == ANYBODY and all(one.labels == [BY_USER] for one in asking)


def unconfirmed(context: GuardContext, call: CheckedCall) -> str | None:
    """Reason why the user has to agree to a write first; None if no stranger can have suggested it, or if the user's
    latest message is a yes to it."""
    speaker = suggested_by(context, call)
    if speaker is None or shown(call) in context.confirmed:
        return None
    return f"{call.spec.name} changes something, and the result of {speaker.tool} has text that may have suggested it"


def _value(value: Any) -> str:
    """A value as JSON, with escapes for signs that are not seen, such as those that reverse a text."""
    written = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in written)
