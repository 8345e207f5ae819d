"""Detects a call that repeats a write of the same session."""

from __future__ import annotations

from flightloop.verdicts import Verdict
from guardrails.aside import aside
from guardrails.evidence.asked_again import asks_for
from guardrails.policy_document import PolicyDocument
from guardrails.same_calls import is_among, may_be_done
from guardrails.text.scalars import scalar_texts
from guardrails.text.spelling import most_characters
from guardrails.types import Checked, CheckedCall, Judgement, Rail

LABEL = "repeated"
REPEATED = "the same call was made in this session already, and the user's latest words do not ask for it again"
UNSURE = (
    "this session may have made the same call already with other spellings of its arguments: the tool's types can't "
    "tell before a call whether two spellings mean the same"
)


def repeats_rail(document: PolicyDocument) -> Rail:
    """Checks a write against the session's earlier ones: those that succeeded, are under way, or may have had their
    effect.

    Writes with the same arguments are repeats; if spellings can't be compared, so are all calls of the tool. The user's
    latest words may request again what an earlier run did. They never justify the same write twice within one run, its
    sub-runs and its forks.
    """
    action, harmless = document.tools.repeated_writes, document.tools.harmless

    async def check(checked: Checked) -> Judgement:
        call, context = checked.call, checked.context
        if call is None or not call.spec.writes or call.spec.agent is not None or call.spec.name in harmless:
            return Judgement()
        past = await context.past(call.args_sha256)
        of_tool = await context.past(tool=call.spec.name)
        own = (*context.writes, *past.delegated, *past.family, *of_tool.delegated, *of_tool.family)
        others = (*past.writes, *of_tool.writes)
        if not (await may_be_done(call, own) or (call.unsure and of_tool.cut)):
            before = await may_be_done(call, others)
            if not before or await aside(_characters(past.asked, call), asks_for, past.asked, call):
                return Judgement()
        known = await is_among(call, [write for write in (*own, *others) if write.may_be_done])
        reason = REPEATED if known else UNSURE
        return Judgement((Verdict(action=action, rail="repeats", stage=checked.stage, reason=reason, labels=[LABEL]),))

    return check


def _characters(asked: str, call: CheckedCall) -> int:
    return most_characters(asked) + sum(map(most_characters, scalar_texts(call.arguments)))
