"""The finders of a policy (secrets, personal data, terms, links), for whole texts and for streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import regex

from guardrails.egress_document import Egress
from guardrails.evidence.contacts import Contacts, answered_contacts, known_contacts
from guardrails.evidence.said_names import evidence_of, unsaid
from guardrails.finders.pattern import Finding, Pattern, PatternFinder, not_after
from guardrails.finders.personal import TAGGED, pattern_finder, personal_finder
from guardrails.finders.pii import values
from guardrails.finders.secrets import secrets_finder
from guardrails.rail_entries import AnyEntry, LinksEntry, PiiEntry, SecretsEntry, TermsEntry
from guardrails.rails.detector import Detector, FilterForContext
from guardrails.rails.links import ANY_HOSTS, vouched_for
from guardrails.text.spelling import compatible
from guardrails.types import GuardContext

_START, _BLANKS = not_after(r"\w"), r"(?:\s|\\[nrt]){1,8}"
Keep = Callable[[str, list[Finding]], list[Finding]]


def detector_of(entry: AnyEntry, egress: Egress) -> Detector | None:
    """The detector that an entry declares; None if it declares another kind of rail."""
    match entry:
        case SecretsEntry():
            return Detector("secrets", secrets_finder(), entry.action)
        case PiiEntry():
            return Detector("pii", personal_finder(entry.kinds), entry.action, _known_data(entry, egress))
        case TermsEntry():
            return Detector("terms", terms_finder(entry.terms), entry.action)
        case LinksEntry():
            return Detector("links", ANY_HOSTS, entry.action, vouched_for(entry, egress))
        case _:
            return None


def terms_finder(terms: Iterable[str]) -> PatternFinder:
    """Finds terms as whole words, ignoring case, with up to eight blanks between their words."""
    patterns = []
    for term in terms:
        words = _BLANKS.join(regex.escape(word) for word in compatible(term).split())
        patterns.append(Pattern("term", rf"{_START}{words}(?!\w)", ignore_case=True))
    return PatternFinder(patterns)


def _known_data(entry: PiiEntry, egress: Egress) -> FilterForContext:
    keep, numbers = entry.keep, pattern_finder(entry.kinds)
    vouching = egress.model_copy(update={"contacts_from": tuple(source for source in keep if source == "user")})

    def filter_for(context: GuardContext) -> Keep:
        def known() -> frozenset[tuple[str, str]]:
            return frozenset().union(*map(said_in, evidence_of(context, keep)))

        def said_in(text: str) -> frozenset[tuple[str, str]]:
            key = (numbers, text)
            found = context.memo.get(key)
            if not isinstance(found, frozenset):
                context.memo[key] = found = values(text, numbers.find(text))
            return found

        def drop(text: str, findings: list[Finding]) -> list[Finding]:
            tagged = unsaid(text, [one for one in findings if one.label in TAGGED], context, keep)
            others = [one for one in findings if one.label not in TAGGED]
            evidence = known() if others else frozenset()
            unknown = [finding for finding in others if not values(text, [finding]) & evidence]
            contacts = known_contacts(context, vouching) if unknown else Contacts()
            if unknown and "results" in keep:
                contacts |= answered_contacts(context)
            return sorted(
                [*tagged, *(one for one in unknown if not contacts.know(one.label, text[one.start : one.end]))]
            )

        return drop

    return filter_for
