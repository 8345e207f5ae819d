"""The user's own yes to a call that strangers may have suggested: how the call is shown, and whether it has the yes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import regex

from flightloop.tool import ToolSpec
from flightloop.verdicts import Action
from guardrails.approval_rule import ANYBODY
from guardrails.evidence.strangers import has_text
from guardrails.types import CheckedCall, GuardContext, Ruling, Trail

_HIDING = regex.compile(
    r"[<&\u2800\u2d7f\U00016fe4\U0001d159\p{Default_Ignorable_Code_Point}\p{Me}\p{Script=Inherited}]"
    r"|[\u275b-\u275e\U0001f676-\U0001f678\u1cd3\p{Quotation_Mark}ʺ˝ˮ״″‶〃--['\"‘’‚‛‹›]]",
    regex.VERSION1,
)
"""Signs of HTML; signs that count as printable but show nothing of their own: blanks, selectors, and marks that any
letter before them can have; and signs that look like the end of a quoted text."""
_LINK = regex.compile(r"\](?=[(\[])")
"""End of a Markdown link's text."""
BY_USER = "confirm"
"""Label of a verdict that asks for the user's own yes."""


def shown(call: CheckedCall) -> str:
    """A call as the user is asked about it, in one line that no other call has: ``refund order: order id 10073``.

    Defaults are left out: "amount 0", where it means all, would tell the user something else. Texts come last: they can
    look as if they had ended.
    """
    told = [(name, value) for name, value in call.arguments.items() if not _is_default(call.spec, name, value)]
    arguments = sorted(told, key=lambda one: isinstance(one[1], str))
    given = ", ".join(f"{_name(call.spec, name)} {_value(value)}" for name, value in arguments)
    return f"{call.spec.name.replace('_', ' ')}: {given}" if given else call.spec.name.replace("_", " ")


def _is_default(spec: ToolSpec, name: str, value: Any) -> bool:
    schema = _properties(spec).get(name)
    if not isinstance(schema, Mapping) or "default" not in schema:
        return False
    default = schema["default"]
    return isinstance(default, bool) is isinstance(value, bool) and default == value  # 0 is 0.0, and not False


def _properties(spec: ToolSpec) -> Mapping[str, Any]:
    properties = spec.parameters.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def left_to_user(ruling: Ruling) -> bool:
    """Whether the user's own yes is all that a call needs: nothing else asks, and no rule says who must decide."""
    asking = [one for one in ruling.verdicts if one.action is Action.ASK]
    return bool(asking) and ruling.approval == ANYBODY and all(one.labels == [BY_USER] for one in asking)


def unconfirmed(context: GuardContext, call: CheckedCall) -> str | None:
    """Reason why the user has to agree to a write first; None if no stranger can have suggested it, or if the user's
    latest message is a yes to it.

    Whatever strangers may have written can suggest it: any text or number, in any field that its tool doesn't trust.
    """
    if shown(call) in context.confirmed or (told := strangers_text(context)) is None:
        return None
    return f"{call.spec.name} changes something, and {told} may have suggested it"


def strangers_text(context: GuardContext) -> str | None:
    """Where the session has read anything that strangers may have written; None if nowhere."""
    trail = context.trail or Trail()
    if trail.unread:
        return "a part of the session that the guard has not read"
    wrote = (one for one in trail.reads if has_text(one, context.memo))
    return next((f"a text in the result of {one.tool}" for one in wrote), None)


def _name(spec: ToolSpec, name: str) -> str:
    """A name; in quotation marks if the model made it up, as an open schema allows: it could look like other values."""
    known = name in _properties(spec) and name.isascii() and name.isidentifier()
    return name.replace("_", " ") if known else _value(name)


def _value(value: Any) -> str:
    return seen(json.dumps(value, ensure_ascii=False))


def seen(text: str) -> str:
    """A text with escapes for signs that are not seen, such as those that reverse a text and line breaks, and for those
    with which HTML or a link in Markdown could hide what follows."""
    return "".join(map(_seen, _LINK.sub(r"\\u005d", text)))


def _seen(sign: str) -> str:
    if sign.isprintable() and not _HIDING.match(sign):
        return sign
    return f"\\u{ord(sign):04x}" if sign <= "\uffff" else f"\\U{ord(sign):08x}"
