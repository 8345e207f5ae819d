"""Whether an answer says that something was done which was not.

A sentence that says so (`guardrails.rails.acts`) needs a successful call: of this run, or of an earlier one of the
session if the user did not ask for another call now. A passive sentence ("the order was cancelled") may rest on what a
tool has looked up instead. The check knows forms of English verbs and the tools' own ``claims``; other wordings pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import regex

from flightloop.verdicts import Action, Span, Verdict
from guardrails.aside import aside
from guardrails.document import PolicyDocument
from guardrails.rails.acts import Act, in_first_person, sentences
from guardrails.rails.amounts import is_number
from guardrails.rails.found import MOST_SPANS, leaves
from guardrails.rails.words import numbers_in, plain
from guardrails.types import GuardContext, Judgement, Past, Rail, Subject, Write

RAIL = "claims"
LABEL = "false_claim"
_DONE = regex.compile(
    r"^(?:all\s+|it['’]?s\s+|that['’]?s\s+)?(?:done|all\s+set|sorted|taken\s+care\s+of)\b", regex.IGNORECASE
)
_MONEY = regex.compile(
    r"(?:[€$£]|\b(?:EUR|USD|GBP))\s?(\d[\d.,]*\d|\d)|(\d[\d.,]*\d|\d)\s?(?:[€$£]|(?:EUR|USD|GBP|euros?|dollars?|pounds?)\b)",
    regex.IGNORECASE,
)
_PAST = regex.compile(r"\b(?:already|was|were)\b", regex.IGNORECASE)
_AMOUNT = regex.compile(r"amount|price|total|sum|cost|fee|money|eur|usd|gbp", regex.IGNORECASE)
NOTHING = "Nothing was changed."
_NO_FIELD = regex.compile(r'"(?:[^"\\]|\\.){1,100}"\s?:\s?(?:null|false|0(?:\.0+)?|""|\[\s?\]|\{\s?\})(?=\s?[,}\]])')
"""A field of a JSON object that says no: ``"cancelled": false``."""
_SHOWN = 200
"""Characters of an argument that are shown."""


def claims_rail(document: PolicyDocument) -> Rail:
    async def check(subject: Subject) -> Judgement:
        context = subject.context
        acts = {spec.name: act for spec in context.writers if (act := Act.of(spec)) is not None}
        if not acts:
            return Judgement()
        said = await aside(len(subject.text), _said, subject.text, acts)
        if not said:
            return Judgement()
        past = await context.past()
        characters = len(subject.text) + len(past.asked) + context.characters
        false = await aside(
            characters, lambda: {one: tools for one, tools in said.items() if not _true(context, past, tools, one)}
        )
        return _judgement(document.tools.false_claims, subject, past, false)

    return check


def _said(text: str, acts: Mapping[str, Act]) -> dict[str, dict[str, Act]]:
    """Sentences, with the tools of which each says that they were called; none: of some tool."""
    found: dict[str, dict[str, Act]] = {one: {} for one in sentences(text) if _DONE.match(one)}
    for tool, act in acts.items():
        for sentence in act.claims(text):
            found.setdefault(sentence, {})[tool] = act
    return found


def _true(context: GuardContext, past: Past, tools: Mapping[str, Act], sentence: str) -> bool:
    if tools:
        return any(_supported(context, past, act, tool, sentence) for tool, act in tools.items())
    outcomes = {write.ok for write in (*context.writes, *past.delegated)}
    return True in outcomes or False not in outcomes


def _supported(context: GuardContext, past: Past, act: Act, tool: str, sentence: str) -> bool:
    own = [write for write in (*context.writes, *past.delegated) if write.tool == tool]
    succeeded = [write for write in own if write.ok]
    failed = [write for write in own if write.ok is False]
    if succeeded:
        return not _is_about(sentence, failed, succeeded) and _amounts_agree(sentence, succeeded)
    wanted = bool(failed) or act.wanted_in(past.asked)
    if not in_first_person(sentence) and _looked_up(context, act, wanted=wanted):
        return True
    if _PAST.search(sentence) and any(act.named.search(write.told) for write in failed):
        return True  # the tool refuses because it was done before
    before = [write for write in past.writes if write.tool == tool and write.ok]
    return bool(before) and not wanted and _amounts_agree(sentence, before)


def _looked_up(context: GuardContext, act: Act, *, wanted: bool) -> bool:
    """Whether a result says that it was done.

    Where it was ``wanted`` now, a field or value must say so: many a document says that orders are cancelled.
    """
    for text in context.results:
        read = "" if text.startswith("error: ") else _NO_FIELD.sub("", text)
        for match in act.named.finditer(read):
            if not wanted or read[match.start() - 1 : match.start()] == '"':
                return True
    return False


def _is_about(sentence: str, writes: Sequence[Write], others: Sequence[Write]) -> bool:
    """Whether a sentence names an argument that only these calls have, and none that only the others have."""
    words = f" {plain(sentence)} "
    mine, theirs = (_arguments(group) for group in (writes, others))
    return any(f" {one} " in words for one in mine - theirs) and not any(f" {one} " in words for one in theirs - mine)


def _arguments(writes: Iterable[Write]) -> set[str]:
    leaf_texts = (leaf for write in writes for value in write.arguments.values() for leaf in leaves(value))
    return {text for leaf in leaf_texts if (text := plain(leaf))}


def _amounts_agree(sentence: str, writes: Sequence[Write]) -> bool:
    """Whether a sum of money in a sentence is one of those that calls with a sum were made with, or returned."""
    given = {float(value) for write in writes for value in _given(write.arguments)} - {0.0}
    stated = {number for match in _MONEY.finditer(sentence) for number in numbers_in(match[1] or match[2])}
    if not given or not stated:
        return True
    returned = numbers_in("\n".join(write.told for write in writes))
    return bool(stated & (given | returned))


def _given(arguments: dict[str, Any]) -> Iterator[float]:
    yield from (value for name, value in arguments.items() if _AMOUNT.search(name) and is_number(value))


def _judgement(action: Action, subject: Subject, past: Past, false: Mapping[str, Mapping[str, Act]]) -> Judgement:
    if not false:
        return Judgement((Verdict(action=Action.ALLOW, rail=RAIL, stage=subject.stage),))
    starts = [(subject.text.find(sentence), len(sentence)) for sentence in false]
    tools = " or ".join(dict.fromkeys(tool for told in false.values() for tool in told)) or "a tool"
    verdict = Verdict(
        action=action,
        rail=RAIL,
        stage=subject.stage,
        reason=f"it says that {tools} was called, and no successful call bears it out",
        labels=[LABEL],
        spans=[Span(start=at, end=at + size, label=LABEL) for at, size in starts[:MOST_SPANS] if at >= 0],
    )
    replaced = what_was_done((*subject.context.writes, *past.delegated)) if action is Action.REDACT else None
    return Judgement((verdict,), text=replaced)


def what_was_done(writes: Iterable[Write]) -> str:
    """Calls that have ended, for the user, one line each."""
    lines = []
    for write in writes:
        call = f"{write.tool.replace('_', ' ')}{_shown(write.arguments)}"
        lines.append(f"Done: {call}." if write.ok else f"Not confirmed: {call}.")
    return "\n".join(lines) or NOTHING


def _shown(arguments: dict[str, Any]) -> str:
    told = ", ".join(f"{name}: {_cut(str(value))}" for name, value in arguments.items())
    return f" ({told})" if told else ""


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
