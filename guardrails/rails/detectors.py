"""The finders of a policy (secrets, personal data, terms, links), for whole texts and for streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import regex

from guardrails.egress_document import Egress
from guardrails.evidence.contacts import Contacts, answered_contacts, known_contacts
from guardrails.finders.pattern import Finding, Pattern, PatternFinder, not_after
from guardrails.finders.pii import pii_finder, values
from guardrails.finders.secrets import secrets_finder
from guardrails.rail_entries import AnyEntry, LinksEntry, PiiEntry, SecretsEntry, Source, TermsEntry
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
            finder = pii_finder(entry.kinds)
            return Detector("pii", finder, entry.action, _known_data(finder, entry.keep, egress))
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


def _evidence(context: GuardContext, keep: tuple[Source, ...]) -> tuple[str, ...]:
    return (*((context.user_text,) if "user" in keep else ()), *(context.results if "results" in keep else ()))


def _known_data(finder: PatternFinder, keep: tuple[Source, ...], egress: Egress) -> FilterForContext:
    vouching = egress.model_copy(update={"contacts_from": tuple(source for source in keep if source == "user")})

    def filter_for(context: GuardContext) -> Keep:
        def known() -> frozenset[tuple[str, str]]:
            return frozenset().union(*map(said_in, _evidence(context, keep)))

        def said_in(text: str) -> frozenset[tuple[str, str]]:
            key = (finder, text)
            found = context.memo.get(key)
            if not isinstance(found, frozenset):
                context.memo[key] = found = values(text, finder.find(text))
            return found

        def drop(text: str, findings: list[Finding]) -> list[Finding]:
            evidence = known() if findings else frozenset()
            unknown = [finding for finding in findings if not values(text, [finding]) & evidence]
            contacts = known_contacts(context, vouching) if unknown else Contacts()
            if unknown and "results" in keep:
                contacts |= answered_contacts(context)
            return [one for one in unknown if not contacts.know(one.label, text[one.start : one.end])]

        return drop

    return filter_for
