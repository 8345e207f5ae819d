"""Whether a call repeats a write that its session has made already."""

from __future__ import annotations

from flightloop.tool import ToolSpec
from flightloop.verdicts import Verdict
from guardrails.aside import aside
from guardrails.document import PolicyDocument
from guardrails.rails.acts import Act
from guardrails.spelling import most_characters
from guardrails.types import Judgement, Rail, Subject

LABEL = "repeated"


def repeats_rail(document: PolicyDocument) -> Rail:
    """A write with the arguments of one that succeeded, is under way, or may have had its effect.

    The user's latest words may ask for what an earlier run has done, but not for the same twice by one run,
    those that work for it, and its forks.
    """
    action, harmless = document.tools.repeated_writes, document.tools.harmless

    async def check(subject: Subject) -> Judgement:
        call, context = subject.call, subject.context
        if call is None or not call.spec.writes or call.spec.agent is not None or call.spec.name in harmless:
            return Judgement()
        digest = call.args_sha256
        past = await context.past(digest)
        own = [write for write in (*context.writes, *past.delegated, *past.family) if write.may_be_done]
        if digest not in {write.args_sha256 for write in own}:
            before = {write.args_sha256 for write in past.writes if write.may_be_done}
            if digest not in before or await aside(most_characters(past.asked), _asked_for, call.spec, past.asked):
                return Judgement()
        reason = "the same call was made in this session already, and the user's latest words do not ask for it again"
        return Judgement((Verdict(action=action, rail="repeats", stage=subject.stage, reason=reason, labels=[LABEL]),))

    return check


def _asked_for(spec: ToolSpec, words: str) -> bool:
    act = Act.of(spec)
    return act is not None and act.wanted_in(words)
