"""Whether an answer says that something was done which was not.

A sentence that says so (`guardrails.rails.acts`) needs a successful call: of this run, or of an earlier one of the
session if the user did not ask for another call now. A passive sentence ("the order was cancelled") may rest on what a
tool has looked up instead. The check knows forms of English verbs and the tools' own ``claims``; other wordings pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import regex

from flightloop.verdicts import Action, Span, Verdict
from guardrails.aside import aside
from guardrails.document import PolicyDocument
from guardrails.rails.acts import Act, Claim, in_first_person, sentences
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
    r"(?:[€$£]|\b(?:EUR|USD|GBP))\s?(\d[\d.,]*\d|\d)"
    r"|(?<![\d.,])[.,]*+(\d[\d.,]*+)(?<=\d)\s?(?:[€$£]|(?:EUR|USD|GBP|euros?|dollars?|pounds?)\b)",
    regex.IGNORECASE,
)
"""Digits are read once, from the first of them: from each, it would take the square of their number."""
_PAST = regex.compile(
    r"\b(?:already|before|earlier|once|twice|\d+\s+times|ago)\b|^(?>.*\bsuccess)?+.*\b(?:was|were)\b", regex.IGNORECASE
)
_PART = regex.compile(r"\b(?:parts?|towards?|in\s+all|in\s+total|altogether)\b|\bof\s+(?:your|the)\b", regex.IGNORECASE)
_AMOUNT = regex.compile(r"amount|price|total|sum|cost|fee|money|eur|usd|gbp", regex.IGNORECASE)
NOTHING = "Nothing was changed."
_OPEN = regex.compile(r"^error: (?:unknown after a crash|\w+ took longer than)")
"""An error of a call that may have had its effect."""
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
        false = await aside(characters, lambda: [one for one in said if not _true(context, past, one)])
        return _judgement(document.tools.false_claims, subject, past, false)

    return check


@dataclass(frozen=True)
class _Said:
    """A claim, and the tools that it may be about; none: some tool."""

    claim: Claim
    tools: Mapping[str, Act]


def _said(text: str, acts: Mapping[str, Act]) -> list[_Said]:
    found = {Claim(one, one, ""): dict[str, Act]() for one in sentences(text) if _DONE.match(one)}
    for tool, act in acts.items():
        for claim in act.claims(text):
            found.setdefault(claim, {})[tool] = act
    return [_Said(claim, tools) for claim, tools in found.items()]


def _true(context: GuardContext, past: Past, said: _Said) -> bool:
    if said.tools:
        return any(_supported(context, past, act, tool, said.claim) for tool, act in said.tools.items())
    outcomes = {write.ok for write in (*context.writes, *past.delegated)}
    return True in outcomes or False not in outcomes


def _supported(context: GuardContext, past: Past, act: Act, tool: str, claim: Claim) -> bool:
    own = [write for write in (*context.writes, *past.delegated) if write.tool == tool]
    succeeded = [write for write in own if write.ok]
    failed = [write for write in own if write.ok is False]
    before = [write for write in past.writes if write.tool == tool and write.ok]
    wanted = bool(failed) or act.wanted_in(past.asked)
    if not in_first_person(claim.clause) and _looked_up(context, act, claim.clause, wanted=wanted and not succeeded):
        return True
    # Where there is something to do now, what was done before is meant if the clause names it.
    counted = succeeded + [one for one in before if not (wanted or succeeded) or _names(claim.clause, [one], own)]
    return bool(counted) and not _names(claim.clause, failed, counted) and _amounts_agree(claim.clause, counted)


def _names(clause: str, writes: Sequence[Write], others: Sequence[Write]) -> bool:
    """Whether a clause names an argument that only these calls have."""
    words = f" {plain(clause)} "
    return any(f" {one} " in words for one in _arguments(writes) - _arguments(others))


def _looked_up(context: GuardContext, act: Act, clause: str, *, wanted: bool) -> bool:
    """Whether a result says that it was done before, or a tool refused since it was.

    Where it was ``wanted`` now, the clause must be about the past and a field or value must say so: many a document
    says that orders are cancelled.
    """
    if wanted and not _PAST.search(clause):
        return False
    for text in (*context.results, *(write.told for write in context.writes if write.ok is False)):
        refused = text.startswith("error: ")
        read = text if refused else _NO_FIELD.sub("", text)
        for match in act.named.finditer(read):
            if not wanted or refused or read[match.start() - 1 : match.start()] == '"':
                return True
    return False


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
    return bool(stated & (given | returned | {round(sum(given), 2)})) or _PART.search(sentence) is not None


def _given(arguments: dict[str, Any]) -> Iterator[float]:
    yield from (value for name, value in arguments.items() if _AMOUNT.search(name) and is_number(value))


def _judgement(action: Action, subject: Subject, past: Past, false: Sequence[_Said]) -> Judgement:
    if not false:
        return Judgement((Verdict(action=Action.ALLOW, rail=RAIL, stage=subject.stage),))
    told = list(dict.fromkeys(one.claim.sentence for one in false))
    starts = [(subject.text.find(sentence), len(sentence)) for sentence in told]
    tools = " or ".join(dict.fromkeys(tool for one in false for tool in one.tools)) or "a tool"
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
        state = (
            "Done" if write.ok else "It is not certain that this was done" if _OPEN.search(write.told) else "Not done"
        )
        lines.append(f"{state}: {call}.")
    return "\n".join(dict.fromkeys(lines)) or NOTHING


def _shown(arguments: dict[str, Any]) -> str:
    told = ", ".join(f"{name}: {_cut(str(value))}" for name, value in arguments.items())
    return f" ({told})" if told else ""


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
