"""Whether a write was foreseen before strangers could suggest it: by the plan, or by the user's own words."""

from __future__ import annotations

from guardrails.evidence.identifying import Leaf, is_identifier, leaves
from guardrails.evidence.requested import asks_for, statements
from guardrails.evidence.strangers import speaks
from guardrails.text.wordings import Wanted, Wordings
from guardrails.types import CheckedCall, GuardContext, Read


def unforeseen(context: GuardContext, call: CheckedCall) -> str | None:
    """Reason why a stranger's text may be why a write is made; None if it can't be, or if the write was foreseen.

    A write was foreseen if the plan names its tool, where the plan was made before any such text was read. Without
    such a plan, it was foreseen if the user's words ask for the act, or state an address of
    several words that the call has.
    """
    speaker = _speaker(context)
    if speaker is None:
        return None
    what, where = f"{call.spec.name} changes something", f"the result of {speaker.tool} was read"
    if context.clean_plan is not None:
        return None if call.spec.name in context.clean_plan else f"{what} and is not in the plan made before {where}"
    if asks_for(call.spec, context.user_text) or _says_where(context, call):
        return None
    return f"{what}, {where}, and neither a plan made before that nor the user's words name it"


def _says_where(context: GuardContext, call: CheckedCall) -> bool:
    """Whether the user states an address of the call, such as a new one of a customer. An amount, a date or an e-mail
    address, which people write for many reasons, is not enough."""
    stated = Wordings(statements(context.user_text))
    details = (one for one in leaves(call.spec, call.arguments) if one.identifying and not one.chosen)
    return any(stated.match(Wanted.of(one.value)) for one in details if _is_place(one))


def _is_place(leaf: Leaf) -> bool:
    text = str(leaf.value)
    return (
        " " in text
        and "@" not in text
        and Wanted(text).amount is None
        and not is_identifier(leaf.argument)
        and Wanted(text).date is None
    )


def _speaker(context: GuardContext) -> Read | None:
    """The first result with text of strangers."""
    reads = context.trail.reads if context.trail is not None else ()
    return next((read for read in reads if speaks(read, context.memo)), None)
