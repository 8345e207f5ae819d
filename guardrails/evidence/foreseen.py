"""Whether a write was foreseen before strangers could suggest it: by the plan, or by the user's own words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import regex

from flightloop.tool import ToolSpec
from guardrails.evidence.acts import sentences
from guardrails.evidence.identifying import Leaf, is_identifier, leaves
from guardrails.evidence.named_objects import NamedObjects
from guardrails.evidence.requested import asks_for, requests_in, statements
from guardrails.evidence.short_orders import verbs_of
from guardrails.evidence.strangers import said_by_strangers, speaks
from guardrails.text.wordings import Wanted, Wordings
from guardrails.types import CheckedCall, GuardContext, Read

_CORRECTS = regex.compile(
    r"\b(?:i\s+mean|i\s+meant|typo|correction|(?:wrong|right|correct)\s+number|ich\s+meinte?)\b|我是说|打错",
    regex.IGNORECASE,
)


def unforeseen(context: GuardContext, call: CheckedCall, done_in: Collection[str] = ()) -> str | None:
    """Reason why a stranger's text may be why a write is made; None if it can't be, or if the write was foreseen.

    A write was foreseen if the plan names its tool, where the plan was made before any such text was read. Without
    such a plan, it was foreseen if a message of the user asks for the act, or states an address of several words that
    the call has. In both cases the message must not name another object than the call does.

    Args:
        done_in: earlier runs that made a write with the tool. What the user wrote up to the latest of them has been
            answered, and asks for no further write.
    """
    named = NamedObjects.of(call, context.subject)
    speaker = _speaker(context, named, call.spec)
    if speaker is None:
        return None
    what, where = f"{call.spec.name} changes something", f"the result of {speaker.tool} was read"
    messages = list(_unanswered(context, done_in))
    if context.clean_plan is not None:
        if call.spec.name not in context.clean_plan:
            return f"{what} and is not in the plan made before {where}"
        return None if _means(named, call, messages[-1]) else f"{what}, {where}, and the user names another object"
    asking = [at for at, one in enumerate(messages) if asks_for(call.spec, one) or _says_where(call, one)]
    if not asking:
        return f"{what}, {where}, and neither a plan made before that nor the user's words name it"
    corrected = _corrections(named, messages[asking[-1] :])
    if not any(_means(named, call, messages[at]) for at in asking) and not any(map(named.agree, corrected)):
        return f"{what}, {where}, and the user asks for it with another object"
    return None


def _unanswered(context: GuardContext, done_in: Collection[str]) -> Iterator[str]:
    """The user's messages after the latest run that made such a write; at least the latest message."""
    said = context.said
    if not said:
        yield context.user_text
        return
    first = max((at + 1 for at, one in enumerate(said) if one.run_id in done_in), default=0)
    yield from (one.text for one in said[min(first, len(said) - 1) :])


def _means(named: NamedObjects, call: CheckedCall, message: str) -> bool:
    """Whether a message may mean the call: its requests name the call's objects, or no objects of their kinds. Where
    they name none, so must the rest of the message."""
    requests = [one for one in requests_in(call.spec, message) if named.names_any(one)]
    return any(map(named.agree, requests)) if requests else named.agree(message)


def _corrections(named: NamedObjects, messages: Iterable[str]) -> Iterator[str]:
    """Sentences that name other objects than the user has just named: "Sorry, I meant 10073"."""
    for message in messages:
        yield from (one for one in sentences(message) if _CORRECTS.search(one) and named.names_any(one))


def _says_where(call: CheckedCall, message: str) -> bool:
    """Whether the user states an address of the call, such as a new one of a customer. An amount, a date or an e-mail
    address, which people write for many reasons, is not enough."""
    stated = Wordings(statements(message))
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


def _speaker(context: GuardContext, named: NamedObjects, spec: ToolSpec) -> Read | None:
    """The first result with text of strangers that can suggest a write, or that tells more of the call's objects than
    their numbers."""
    reads = context.trail.reads if context.trail is not None else ()
    verbs = verbs_of((*context.writers, spec))
    return next((read for read in reads if speaks(read, context.memo, verbs) or _mentions(read, named)), None)


def _mentions(read: Read, named: NamedObjects) -> bool:
    return read.strangers and any(" " in text.strip() and named.mentioned_in(text) for text in said_by_strangers(read))
