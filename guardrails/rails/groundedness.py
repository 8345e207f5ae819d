"""Checks that an answer's statements have evidence: its numbers, identifiers, dates, e-mail addresses and, if wanted,
names must occur in the run's tool results, in earlier answers of the session, in the agent's instructions or in the
user's own words. The check is lexical, not an entailment.

If the context's ``facts`` know a number, they decide, whether or not the looked-up results contain the number. A number
that contradicts them passes if another tool returned it: an order's price may be an older one.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import islice

import regex

from flightloop.verdicts import Action, Span, Verdict
from guardrails.aside import aside
from guardrails.evidence.arithmetic import Operand, Pool
from guardrails.evidence.grounds import Claim, Evidence, claims
from guardrails.evidence.spoken import Spoken
from guardrails.finders.contacts import CONTACTS
from guardrails.rail_entries import GroundednessEntry
from guardrails.rails.detector import MOST_SPANS
from guardrails.text.languages import in_language_of
from guardrails.text.quantities import CURRENCY
from guardrails.text.sentences import without_sentences
from guardrails.text.wordings import Wanted
from guardrails.text.words import each_number, numbers_in
from guardrails.types import Checked, GuardContext, Judgement, Rail, Statement, severest

RAIL = "groundedness"
AGAINST = "against the facts: "
"""Begins a reason with what the project's data say."""
_QUOTED = 3
"""Claims that a reason quotes."""
_LONGEST_QUOTE = 60
_CURRENCY_BEHIND = regex.compile(rf"\s?(?:[欧美日]?元|英镑|人民币|{CURRENCY}(?!\w))", regex.IGNORECASE)
_CURRENCY_BEFORE = regex.compile(rf"(?<!\w){CURRENCY}\s?$", regex.IGNORECASE)
_LONGEST_CURRENCY = 10
_MOST_COMPUTED, _MOST_OPERANDS = 20, 1000
"""Prices of an answer that may be computed, and numbers that they are computed from."""
_LEAST_DIGITS = 5
"""Digits of what is no count, price or year, but the number of an order, a customer or a card."""


def groundedness_rail(entry: GroundednessEntry) -> Rail:
    """Checks an answer's claims. ``scores["groundedness"]`` is the supported share; absent without claims."""

    async def check(checked: Checked) -> Judgement:
        text, context = checked.text, checked.context
        known = await context.facts(text, context.user_text)
        stated = await aside(len(text), _apart, text, known, entry.names)
        unsupported = await aside(len(text) + context.characters, _unsupported, stated, context) if stated else []
        against = [one for one in known if not one.right]
        wrong = await aside(context.characters, _wrong, against, context) if against else []
        count, missed = len(stated) + len(known), len(unsupported) + len(wrong)
        score = 1 - missed / count if count else 1.0
        missing = entry.action if score < entry.minimum else Action.ALLOW
        made_up: list[Claim] = []
        if entry.exact is not Action.ALLOW and unsupported:
            made_up = await aside(len(text) + context.characters, _exact, unsupported, text, context)
        grave = ((entry.exact, made_up), (entry.contradicted, wrong))
        action = severest((missing, *(act for act, found in grave if found)))
        verdict = Verdict(
            action=action,
            rail=RAIL,
            stage=checked.stage,
            reason=_reason(text, unsupported, wrong, count),
            spans=_spans(unsupported, wrong),
            scores={"groundedness": round(score, 4)} if count else {},
        )
        if action is not Action.REDACT:
            return Judgement((verdict,))
        removed = unsupported if missing is Action.REDACT else made_up if entry.exact is Action.REDACT else []
        places = [*((one.start, one.end) for one in removed), *((one.start, one.end) for one in wrong)]
        left = await aside(len(text), without_sentences, text, places)
        return Judgement((verdict,), text=left or _otherwise(entry, context))

    return check


def _exact(unsupported: Sequence[Claim], text: str, context: GuardContext) -> list[Claim]:
    """Dates, prices that nothing yields, and numbers and codes so long that they are no rounding and no count.
    Contacts have their own rail."""
    prices = {one for one in unsupported if one.kind == "number" and _is_price(one, text)}
    computed = _computed([one for one in unsupported if one in prices][:_MOST_COMPUTED], context)
    exact = (one for one in unsupported if one.kind == "date" or one in prices or _digits(one, text) >= _LEAST_DIGITS)
    found = [one for one in exact if one not in computed]
    contacts = CONTACTS.find(text) if found else []
    return [one for one in found if not any(at.start < one.end and one.start < at.end for at in contacts)]


def _is_price(number: Claim, text: str) -> bool:
    before = text[max(number.start - _LONGEST_CURRENCY, 0) : number.start]
    return bool(_CURRENCY_BEHIND.match(text, number.end) or _CURRENCY_BEFORE.search(before))


def _computed(prices: Sequence[Claim], context: GuardContext) -> set[Claim]:
    """The prices that follow from numbers of the conversation, such as a sum."""
    if not prices:
        return set()
    read = each_number("\n".join([context.user_text, *context.results, *context.answered]))
    known = Pool([Operand(Decimal(str(number)), None) for number in islice(read, _MOST_OPERANDS)])
    return {one for one in prices if any(known.composed(Decimal(str(value))) for value in one.values)}


def _digits(claim: Claim, text: str) -> int:
    return sum(map(str.isdigit, text[claim.start : claim.end]))


def _otherwise(entry: GroundednessEntry, context: GuardContext) -> str:
    if isinstance(entry.otherwise, str):
        return entry.otherwise
    words = context.said[-1].text if context.said else context.user_text
    return in_language_of(words, entry.otherwise)


def _reason(text: str, unsupported: list[Claim], wrong: list[Statement], count: int) -> str:
    quoted = ", ".join(f'"{text[one.start : one.end][:_LONGEST_QUOTE]}"' for one in unsupported[:_QUOTED])
    parts = [f"{len(unsupported)} of {count} claims have no evidence: {quoted}"] if unsupported else []
    facts = dict.fromkeys(one.fact for one in wrong)
    return "; ".join([*parts, *(f"{AGAINST}{fact}" for fact in facts)])


def _apart(text: str, known: Sequence[Statement], names: bool) -> list[Claim]:
    """The text's claims, except those that a statement overlaps."""
    taken = bytearray(len(text))
    for one in known:
        taken[one.start : one.end] = b"1" * (one.end - one.start)
    return [claim for claim in claims(text, names=names) if not any(taken[claim.start : claim.end])]


def _unsupported(stated: list[Claim], context: GuardContext) -> list[Claim]:
    # What was answered before is all that the model knows of earlier runs.
    evidence = Evidence([context.instructions, context.user_text, *context.answered, *context.results])
    spoken, unsupported = None, []
    for claim in stated:
        if evidence.supports(claim):
            continue
        spoken = spoken or Spoken.of(context)
        if claim.kind == "date" and any(spoken.names(Wanted(f"{date}")) for date in claim.values):
            continue  # "tomorrow", in the user's words
        unsupported.append(claim)
    return unsupported


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
