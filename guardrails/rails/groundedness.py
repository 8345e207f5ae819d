"""Checks that an answer's statements have evidence: its numbers, identifiers, dates and e-mail addresses must
occur in the run's tool results, in documents or in the user's own words. The check is lexical, not an entailment.

If the context's ``facts`` know a number, they decide, whether or not the looked-up results contain the number. A number
that contradicts them passes if another tool returned it: an order's price may be an older one.
"""

from __future__ import annotations

from calendar import month_abbr, month_name
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import regex

from flightloop.verdicts import Action, Span, Verdict
from guardrails.aside import aside
from guardrails.rail_entries import GroundednessEntry
from guardrails.rails.detector import MOST_SPANS
from guardrails.text.sentences import without_sentences
from guardrails.text.words import EMAIL, number_of, numbers_in
from guardrails.types import Checked, GuardContext, Judgement, Rail, Statement

_MONTHS = {name.lower(): index for index, name in enumerate(month_name) if name}
_MONTHS |= {name.lower(): index for index, name in enumerate(month_abbr) if name} | {"sept": 9}
_MONTH = "(?P<month>" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\.?"
_DAY, _YEAR = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?", r"(?P<year>\d{4})"
_WRITTEN = [
    regex.compile(rf"\b{_DAY}(?: of)? {_MONTH},? {_YEAR}\b", regex.IGNORECASE),
    regex.compile(rf"\b{_MONTH} {_DAY},? {_YEAR}\b", regex.IGNORECASE),
]
_ISO = regex.compile(r"\b(\d{4})-(\d{2})-(\d{2})(?!\d)")
_NUMERIC = regex.compile(r"\b(\d{1,2})[./](\d{1,2})[./](\d{4})\b")
_ID = regex.compile(r"(?<![\w-])#?(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*(?![\w-])")
_NUMBER = regex.compile(r"(?<![\w.,#-])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:[.,]\d+)?(?![\w-]|[.,]\d)")
_LIST_MARK = regex.compile(r"(?m)^[^\S\n]{0,8}(?:step )?\d{1,2}[.):]\s", regex.IGNORECASE)
_ORDINAL = regex.compile(r"\d+(?:st|nd|rd|th)", regex.IGNORECASE)


@dataclass(frozen=True)
class Claim:
    """A statement at characters [start, end) of an answer."""

    start: int
    end: int
    kind: str
    values: frozenset[object]
    """Possible readings of the statement. One of them must occur in the evidence."""


def claims(text: str) -> list[Claim]:
    """Statements of an answer that need evidence. Counts below ten and list numbers don't."""
    found: list[Claim] = []
    taken = bytearray(len(text))
    for match in _LIST_MARK.finditer(text):
        taken[match.start() : match.end()] = b"1" * len(match.group())
    for claim in [*_emails(text), *_dates(text), *_ids(text), *_numbers(text)]:
        if not any(taken[claim.start : claim.end]):
            taken[claim.start : claim.end] = b"1" * (claim.end - claim.start)
            found.append(claim)
    return sorted(found, key=lambda claim: claim.start)


@dataclass(frozen=True)
class Evidence:
    """Values that the evidence supports, by kind."""

    known: dict[str, frozenset[object]]

    @classmethod
    def of(cls, texts: tuple[str, ...]) -> Evidence:
        text = "\n".join(texts)
        known: dict[str, frozenset[object]] = {"number": frozenset(numbers_in(text))}
        for kind, source in (("email", _emails), ("date", _dates), ("id", _ids)):
            known[kind] = frozenset(value for claim in source(text) for value in claim.values)
        return cls(known)

    def supports(self, claim: Claim) -> bool:
        return bool(claim.values & self.known[claim.kind])


def groundedness_rail(entry: GroundednessEntry) -> Rail:
    """Checks an answer's claims. ``scores["groundedness"]`` is the supported share; absent without claims."""

    async def check(checked: Checked) -> Judgement:
        text, context = checked.text, checked.context
        known = await context.facts(text, context.user_text)
        stated = await aside(len(text), _apart, text, known)
        unsupported = await aside(len(text) + context.characters, _unsupported, stated, context) if stated else []
        against = [one for one in known if not one.right]
        wrong = await aside(context.characters, _wrong, against, context) if against else []
        count, missed = len(stated) + len(known), len(unsupported) + len(wrong)
        score = 1 - missed / count if count else 1.0
        action = entry.action if score < entry.minimum else Action.ALLOW
        verdict = Verdict(
            action=action,
            rail="groundedness",
            stage=checked.stage,
            reason=_reason(unsupported, wrong, count),
            spans=_spans(unsupported, wrong),
            scores={"groundedness": round(score, 4)} if count else {},
        )
        if action is not Action.REDACT:
            return Judgement((verdict,))
        places = [*((one.start, one.end) for one in unsupported), *((one.start, one.end) for one in wrong)]
        left = await aside(len(text), without_sentences, text, places)
        return Judgement((verdict,), text=left)

    return check


def _reason(unsupported: list[Claim], wrong: list[Statement], count: int) -> str:
    parts = [f"{len(unsupported)} of {count} claims have no evidence"] if unsupported else []
    facts = dict.fromkeys(one.fact for one in wrong)
    return "; ".join([*parts, *(f"against the facts: {fact}" for fact in facts)])


def _apart(text: str, known: Sequence[Statement]) -> list[Claim]:
    """The text's claims, except those that a statement overlaps."""
    taken = bytearray(len(text))
    for one in known:
        taken[one.start : one.end] = b"1" * (one.end - one.start)
    return [claim for claim in claims(text) if not any(taken[claim.start : claim.end])]


def _unsupported(stated: list[Claim], context: GuardContext) -> list[Claim]:
    evidence = Evidence.of((context.user_text, *context.results))
    return [claim for claim in stated if not evidence.supports(claim)]


def _spans(unsupported: list[Claim], wrong: list[Statement]) -> list[Span]:
    """The first places without evidence, and against the facts."""
    spans = [
        *(Span(start=one.start, end=one.end, label=f"unsupported_{one.kind}") for one in unsupported[:MOST_SPANS]),
        *(Span(start=one.start, end=one.end, label="against_facts") for one in wrong[:MOST_SPANS]),
    ]
    return sorted(spans, key=lambda span: span.start)[:MOST_SPANS]


def _wrong(against: list[Statement], context: GuardContext) -> list[Statement]:
    """Wrong statements, except those whose numbers another tool returned or (unless ``strict``) the user stated."""
    told = numbers_in("\n".join(result for result in context.results if result not in context.looked_up))
    said = told | numbers_in(context.user_text)
    return [one for one in against if not one.numbers or not set(one.numbers) <= (told if one.strict else said)]


def _emails(text: str) -> Iterator[Claim]:
    for match in EMAIL.finditer(text):
        yield Claim(match.start(), match.end(), "email", frozenset({match.group().casefold()}))


def _dates(text: str) -> Iterator[Claim]:
    for match in _ISO.finditer(text):
        yield from _date_claim(match, [(match[1], match[2], match[3])])
    for pattern in _WRITTEN:
        for match in pattern.finditer(text):
            month = str(_MONTHS[match["month"].lower()])
            yield from _date_claim(match, [(match["year"], month, match["day"])])
    for match in _NUMERIC.finditer(text):  # both readings of 03/04/2024
        yield from _date_claim(match, [(match[3], match[2], match[1]), (match[3], match[1], match[2])])


def _date_claim(match: regex.Match[str], readings: list[tuple[str, str, str]]) -> Iterator[Claim]:
    days = set()
    for year, month, day in readings:
        try:
            days.add(date(int(year), int(month), int(day)))
        except ValueError:
            continue
    if days:
        yield Claim(match.start(), match.end(), "date", frozenset(days))


def _ids(text: str) -> Iterator[Claim]:
    for match in _ID.finditer(text):
        if not _ORDINAL.fullmatch(match.group()):
            yield Claim(match.start(), match.end(), "id", frozenset({match.group().lstrip("#").casefold()}))


def _numbers(text: str) -> Iterator[Claim]:
    for match in _NUMBER.finditer(text):
        value = number_of(match.group())
        if value is not None and not (value.is_integer() and abs(value) < 10):
            yield Claim(match.start(), match.end(), "number", frozenset({value, abs(value)}))
