"""Detects answers that claim something was done although it was not.

Such a claim (`guardrails.evidence.acts`) needs a successful call: one of this run, or one of an earlier run of
the session unless the user asks for another call now. A passive sentence ("the order was cancelled") may
also rest on what a tool has looked up. If an agent claims an action that none of its tools is known to do
("I have refunded 72 EUR"), at least one call must have succeeded. The check knows forms of English verbs and the
tools' own ``claims``; it doesn't detect other wordings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

import regex

from flightloop.verdicts import Action, Span, Verdict
from guardrails.aside import aside
from guardrails.evidence.acts import Act, Claim, clauses_of, in_first_person, sentences
from guardrails.evidence.affirmations import Yes, last_writes, yes_in
from guardrails.evidence.confirmed import seen
from guardrails.evidence.done_acts import CallTexts, Done
from guardrails.evidence.objects import Objects
from guardrails.policy_document import PolicyDocument
from guardrails.rails.detector import MOST_SPANS
from guardrails.text.spelling import most_characters
from guardrails.text.verbs import ELSEWHERE
from guardrails.types import Checked, Judgement, Past, Rail, Write

RAIL = "claims"
_ORDINARY = regex.compile(r"[^():\"\n]*")
LABEL = "false_claim"
MOST_CLAIMS = 1000
"""Maximum number of claims of an answer that are compared with the calls. Further claims count as false."""
_DONE = regex.compile(
    r"^(?:all\s+|it['’]?s\s+|that['’]?s\s+)?(?:done|all\s+set|sorted|taken\s+care\s+of)\b", regex.IGNORECASE
)
NOTHING = "Nothing was changed."
CORRECTION = "That answer could not be used:"
UNSUPPORTED = "no successful call bears it out"
_CALLED = "{} was called"
_TOLD_TO_MODEL = (CORRECTION, UNSUPPORTED)
"""Parts of the platform's message to a model whose answer was unusable. An answer that repeats one is rejected."""
_ELSEWHERE = Act.by_verbs(ELSEWHERE)
_SENT = regex.compile(
    r"\b(?:e-?mail|confirmation|message|sms|notification|receipt|invoice|link)\b[^.!?\n]{0,40}?"
    r"\b(?:has|have)\s+(?:(?:just|now|already|also)\s+)?been\s+(?:e-?mailed|sent)\b",
    regex.IGNORECASE,
)
"""Statements that a message was sent. They need a successful call, even if they name another sender."""
_SHOWN = 200
"""Maximum number of characters shown of an argument."""


def claims_rail(document: PolicyDocument) -> Rail:
    """Checks that successful calls support every claim of an answer that something was done."""

    async def check(checked: Checked) -> Judgement:
        context, text = checked.context, checked.text
        acts = {spec.name: act for spec in context.writers if (act := Act.of(spec)) is not None}
        # A name of one word may stand in any sentence: "your refund was called off".
        told = (*_TOLD_TO_MODEL, *(_CALLED.format(one.name) for one in context.writers if "_" in one.name))
        repeated = next((part for part in told if part in text and part not in context.user_text), None)
        echoed = repeated if context.run_id or acts else None
        if not (acts or echoed):
            return Judgement()
        claimed = await aside(most_characters(text), _claimed_in, text, acts)
        if not (claimed or echoed or yes_in(text)):
            return Judgement()
        past = await context.past()
        found = await aside(_characters(checked, past, claimed), _false, checked, past, claimed, acts)
        if echoed:
            found = _Found([_Claimed(Claim(echoed, echoed, ""), {})], found.writes, "it repeats the platform's message")
        return _judgement(document.tools.false_claims, checked, found)

    return check


@dataclass(frozen=True)
class _Claimed:
    """A claim, and the tools it may be about (none: any tool). ``elsewhere``: no tool is known to do the action."""

    claim: Claim
    tools: Mapping[str, Act]
    elsewhere: bool = False


@dataclass(frozen=True)
class _Found:
    """False claims, and the calls to list in their place."""

    false: Sequence[_Claimed]
    writes: Sequence[Write]
    reason: str = ""


def _claimed_in(text: str, acts: Mapping[str, Act]) -> list[_Claimed]:
    found = {Claim(one, one, ""): dict[str, Act]() for one in sentences(text) if _DONE.match(one)}
    clauses = clauses_of(text)
    for tool, act in acts.items():
        for claim in act.claims_in(clauses):
            found.setdefault(claim, {})[tool] = act
    claimed = {claim.clause for claim in found}
    others = [one for one in _ELSEWHERE.claims_in(clauses) if in_first_person(one.clause)]
    others += [Claim(sentence, clause, "sent") for sentence, clause in clauses if _SENT.search(clause)]
    others = [one for one in dict.fromkeys(others) if one.clause not in claimed]
    return [*starmap(_Claimed, found.items()), *(_Claimed(claim, {}, elsewhere=True) for claim in others)]


def _characters(checked: Checked, past: Past, claimed: Sequence[_Claimed]) -> int:
    """Work of the comparison, for `aside`: characters of all texts, and 10 for each pair of a claim and a call."""
    writes = (*checked.context.writes, *past.delegated, *past.writes)
    compared = 10 * len(claimed) * len(writes) + sum(len(write.result) for write in writes)
    return most_characters(checked.text) + most_characters(past.asked) + checked.context.characters + compared


def _false(checked: Checked, past: Past, claimed: Sequence[_Claimed], acts: Mapping[str, Act]) -> _Found:
    context = checked.context
    own = (*context.writes, *past.delegated)
    texts = CallTexts(context)
    yes = Yes.of(checked.text, past.asked, acts)
    if yes is not None and not yes.borne_out(context, past, texts):
        false = [_Claimed(Claim(yes.sentence, yes.sentence, ""), yes.acts)]
        return _Found(false, last_writes(context, past))
    named = {tool: act for one in claimed[:MOST_CLAIMS] for tool, act in one.tools.items()}
    done = {tool: Done(context, past, texts, act, tool) for tool, act in named.items()}
    outcomes = {write.ok for write in own}
    some = True in outcomes or False not in outcomes
    objects = Objects(context, (*past.writes, *own), acts)

    def true(one: _Claimed) -> bool:
        if one.elsewhere:
            return any(write.ok for write in (*own, *past.writes))
        if not one.tools:
            return some
        if one.claim.standing and not any(done[tool].at_issue for tool in one.tools):
            return True
        clause = one.claim.clause
        answers = yes is not None and one.claim.sentence == yes.sentence and yes.acts.keys() & one.tools.keys()
        if answers and not in_first_person(clause):
            return True  # "yes, it was cancelled": the question was checked
        if not any(done[tool].supports(clause) for tool in one.tools):
            return False
        return any(done[tool].looked_up(clause) for tool in one.tools) or objects.agree(clause, together[clause])

    together: dict[str, set[str]] = {}
    for one in claimed[:MOST_CLAIMS]:
        together.setdefault(one.claim.clause, set()).update(one.tools)
    return _Found([one for at, one in enumerate(claimed) if at >= MOST_CLAIMS or not true(one)], own)


def _judgement(action: Action, checked: Checked, found: _Found) -> Judgement:
    false = found.false
    if not false:
        return Judgement((Verdict(action=Action.ALLOW, rail=RAIL, stage=checked.stage),))
    sentences = list(dict.fromkeys(one.claim.sentence for one in false))
    starts = [(checked.text.find(sentence), len(sentence)) for sentence in sentences[:MOST_SPANS]]
    tools = " or ".join(dict.fromkeys(tool for one in false for tool in one.tools)) or "a tool"
    verdict = Verdict(
        action=action,
        rail=RAIL,
        stage=checked.stage,
        reason=found.reason or f"it says that {_CALLED.format(tools)}, and {UNSUPPORTED}",
        labels=[LABEL],
        spans=[Span(start=at, end=at + size, label=LABEL) for at, size in starts if at >= 0],
    )
    return Judgement((verdict,), text=what_was_done(found.writes) if action is Action.REDACT else None)


def what_was_done(writes: Iterable[Write]) -> str:
    """Calls that have ended, one per line, as text for the user.

    Of other runs, only numbers are shown: the session's trail may lack what such a run has read, such as a blocked one,
    and its texts would come back as the platform's own words.
    """
    lines = []
    for write in writes:
        shown = {name: one for name, one in write.arguments.items() if not write.run_id or isinstance(one, int | float)}
        call = f"{write.tool.replace('_', ' ')}{_shown(shown)}"
        state = "Done" if write.ok else "It is not certain that this was done" if write.uncertain else "Not done"
        lines.append(f"{state}: {call}.")
    return "\n".join(dict.fromkeys(lines)) or NOTHING


def _shown(arguments: dict[str, Any]) -> str:
    told = ", ".join(f"{_told(_cut(name))}: {_told(_cut(str(value)))}" for name, value in arguments.items())
    return f" ({told})" if told else ""


def _told(value: str) -> str:
    """A value; in quotation marks if it could look as if it had ended."""
    return value if _ORDINARY.fullmatch(value) and seen(value) == value else seen(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
