"""Whether a write was foreseen before strangers could suggest it: by the plan, or by the user's own words."""

from __future__ import annotations

from functools import lru_cache

import regex

from flightloop.provenance import Origin
from flightloop.tool import ToolSpec
from guardrails.evidence.acts import Act, joined
from guardrails.evidence.identifying import is_identifier, leaves
from guardrails.evidence.provenance import Tracer, divided
from guardrails.text.verbs import gerunds, noun_of, participles
from guardrails.types import CheckedCall, GuardContext, Read

_SPEAKS = regex.compile(r"(?:[^\W\d_][\w'’-]*[ \t]+){2,}[^\W\d_]|[\p{Han}]{4,}")
"""Three words in a row, or four Chinese characters. Fewer instruct nobody, and most names and addresses have fewer."""


def unforeseen(context: GuardContext, call: CheckedCall) -> str | None:
    """Reason why a stranger's text may be why a write is made; None if it can't be, or if the write was foreseen.

    A write was foreseen if the plan names its tool, where the plan was made before any such text was read. Without
    such a plan, it was foreseen if the user's words name the act or give one of its details, such as an address.
    """
    speaker = _speaker(context)
    if speaker is None:
        return None
    what, where = f"{call.spec.name} changes something", f"the result of {speaker.tool} was read"
    if context.clean_plan is not None:
        return None if call.spec.name in context.clean_plan else f"{what} and is not in the plan made before {where}"
    if names_act(call.spec, context.user_text) or _has_users_detail(context, call):
        return None
    return f"{what}, {where}, and neither a plan made before that nor the user's words name it"


def _has_users_detail(context: GuardContext, call: CheckedCall) -> bool:
    """Whether the user's words have an address, amount or date of the call. They name identifiers with any question."""
    details = (one for one in leaves(call.spec, call.arguments) if one.identifying and not one.chosen)
    tracer = Tracer(context, call.call_id)
    return any(tracer.source(one).origin is Origin.USER for one in details if not is_identifier(one.argument))


def speaks(read: Read, memo: dict[object, object]) -> bool:
    """Whether a result has text of strangers that is long enough to suggest something; searched once per result."""
    key = (speaks, read.key, read.run_id)
    found = memo.get(key)
    if not isinstance(found, bool):
        memo[key] = found = read.strangers and any(_SPEAKS.search(text) for _, text in divided(read)[1])
    return found


def names_act(spec: ToolSpec, text: str) -> bool:
    """Whether a text has a verb of a tool's act, in any form; with a word of its object if the verb has many."""
    act = Act.of(spec)
    if act is None or not act.verbs:
        return False
    return _forms(act.verbs).search(text) is not None and (act.about is None or act.about.search(text) is not None)


@lru_cache(maxsize=1024)
def _forms(verbs: tuple[str, ...]) -> regex.Pattern[str]:
    forms = [form for verb in verbs for form in (verb, f"{verb}s", *participles(verb), *gerunds(verb))]
    return regex.compile(rf"\b(?:{joined(forms)}|{'|'.join(map(noun_of, verbs))})\b", regex.IGNORECASE)


def _speaker(context: GuardContext) -> Read | None:
    """The first result with text of strangers."""
    reads = context.trail.reads if context.trail is not None else ()
    return next((read for read in reads if speaks(read, context.memo)), None)
