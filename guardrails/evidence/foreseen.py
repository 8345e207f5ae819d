"""Whether a write was foreseen before strangers could suggest it: by the plan, or by the user's own words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import regex

from flightloop.tool import ToolSpec
from guardrails.evidence.acts import sentences
from guardrails.evidence.agreed import agreed_question
from guardrails.evidence.identifying import Leaf, is_identifier, leaves
from guardrails.evidence.named_objects import NamedObjects
from guardrails.evidence.requested import asking_part, asks_for, requests_in, statements
from guardrails.evidence.ruled_out import divided
from guardrails.evidence.short_orders import verbs_of
from guardrails.evidence.strangers import said_by_strangers, speaks
from guardrails.text.wordings import Wanted, Wordings
from guardrails.types import CheckedCall, GuardContext, Read

_CORRECTS = regex.compile(
    r"\b(?:i\s+mean|i\s+meant|typo|correction|(?:wrong|right|correct)\s+number|ich\s+meinte?)\b|我是说|打错",
    regex.IGNORECASE,
)
_POINTS = regex.compile(
    r"\b(?:it|this|that|them|these|those|sie|es|diese|das)\b|\bthe\s+order\b(?!\s+(?:of|with|from|for|that|i)\b)|[它该这那]",
    regex.IGNORECASE,
)
_DESCRIBED = regex.compile(
    r"\b(?:other|another|second|(?:all|each|every|any)\s+(?:of|my|the|orders?)|both|latest|last|newest|oldest|first|andere[nrs]?|letzte[nrs]?|alle)\b|其他|另|全部|所有|最",
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
    said = _Said.of(context, done_in)
    if context.clean_plan is not None:
        if call.spec.name not in context.clean_plan:
            return f"{what} and is not in the plan made before {where}"
        means = _means(named, call, said, len(said.texts) - 1)
        return None if means else f"{what}, {where}, and the user names another object"
    texts = enumerate(said.texts)
    asking = [at for at, text in texts if at >= said.first and (asks_for(call.spec, text) or _says_where(call, text))]
    if not asking:
        return f"{what}, {where}, and neither a plan made before that nor the user's words name it"
    corrected = _corrections(named, said.texts[asking[-1] :])
    if not any(_means(named, call, said, at) for at in asking) and not any(map(named.agree, corrected)):
        return f"{what}, {where}, and the user asks for it with another object"
    return None


@dataclass(frozen=True)
class _Said:
    """The user's messages in order.

    Attributes:
        questions: of each message, the agent's question to which it agrees, or else the answer before it.
        first: index of the first message after the latest run that made such a write; at most the latest message.
    """

    texts: tuple[str, ...]
    questions: tuple[str, ...]
    first: int

    @classmethod
    def of(cls, context: GuardContext, done_in: Collection[str]) -> _Said:
        said = context.said
        if not said:
            return cls((context.user_text,), ("",), 0)
        first = max((at + 1 for at, one in enumerate(said) if one.run_id in done_in), default=0)
        questions = (agreed_question(one) or one.after for one in said)
        return cls(tuple(one.text for one in said), tuple(questions), min(first, len(said) - 1))


def _means(named: NamedObjects, call: CheckedCall, said: _Said, at: int) -> bool:
    """Whether a message may mean the call: its requests name the call's objects, or no objects of their kinds. Where
    they name none, so must the rest of the message, and where that names none, the message that it refers to."""
    verbs = verbs_of([call.spec])
    message, out = divided(named.whole(said.texts[at]), verbs)
    if out and named.mentioned_in(out) and not named.mentioned_in(message):
        return False
    requests = list(requests_in(call.spec, message))
    for parts in ([asking_part(call.spec, one) for one in requests], requests, list(_about_places(call, message))):
        if naming := [one for one in parts if named.names_any(one)]:
            return any(map(named.agree, naming))
    if named.names_any(message):
        return named.agree(message)
    return named.agree(_referred(named, said, at))


def _referred(named: NamedObjects, said: _Said, at: int) -> str:
    """The text that tells which object a message means that names none: "cancel it", or "cancel my order" before the
    agent asks which one. Empty if it is described otherwise ("my other order"), or nowhere named."""
    if _DESCRIBED.search(said.texts[at]):
        return ""
    before, after = reversed(said.texts[:at]), said.texts[at + 1 :]
    nearby = (*before, *after) if _POINTS.search(said.texts[at]) else after
    texts = (*nearby, *reversed(said.questions[: at + 1]), *said.questions[at + 1 :])
    return next((whole for one in texts if named.names_any(whole := named.whole(one))), "")


def _corrections(named: NamedObjects, messages: Iterable[str]) -> Iterator[str]:
    """Sentences that name other objects than the user has just named: "Sorry, I meant 10073"."""
    for message in messages:
        yield from (one for one in sentences(message) if _CORRECTS.search(one) and named.names_any(one))


def _says_where(call: CheckedCall, message: str) -> bool:
    """Whether the user states an address of the call, such as a new one of a customer. An amount, a date or an e-mail
    address, which people write for many reasons, is not enough."""
    stated = Wordings(statements(message))
    return any(stated.match(Wanted.of(one)) for one in _places(call))


def _about_places(call: CheckedCall, message: str) -> Iterator[str]:
    """The sentences that state an address of the call, each up to the address: "17 should go to 5 Oak Street, and 18
    stays"."""
    for sentence in sentences(message):
        for place in filter(lambda one: Wordings(sentence).match(Wanted.of(one)), _places(call)):
            at = sentence.casefold().find(place.split(",")[0].casefold())
            yield sentence[:at] if at > 0 else sentence


def _places(call: CheckedCall) -> list[str]:
    details = (one for one in leaves(call.spec, call.arguments) if one.identifying and not one.chosen)
    return [str(one.value) for one in details if _is_place(one)]


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
