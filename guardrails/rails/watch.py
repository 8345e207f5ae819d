"""The finders of a policy: secrets, personal data, terms, links. The same for a whole text and for a stream."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from functools import cache
from urllib.parse import unquote

import regex

from guardrails.document import AnyEntry, LinksEntry, PiiEntry, SecretsEntry, Source, TermsEntry
from guardrails.finders import Finding, Pattern, PatternFinder, not_after
from guardrails.hosts import MOST_CHARS, URL, Address, addresses_of, hosts_in, permitted
from guardrails.rails.found import Detector, Watch
from guardrails.rails.normalise import normalise, unescaped
from guardrails.rails.pii import pii_finder, values
from guardrails.rails.secrets import secrets_finder
from guardrails.types import GuardContext

_TO_BRACKET = regex.compile(r"(?:[a-z]{0,5}+\\?+:?+[/\\]{0,4}+[^\s/?#\"<]{0,200}@)?[^)\]]*", regex.IGNORECASE)
"""Of a link: its scheme and user, whatever they hold, and the rest up to a closing bracket."""
_START, _BLANKS = not_after(r"\w"), r"(?:\s|\\[nrt]){1,8}"
Keep = Callable[[str, list[Finding]], list[Finding]]


def detector_of(entry: AnyEntry, egress: tuple[str, ...]) -> Detector | None:
    """The detector that an entry declares; None if it declares another kind of rail."""
    match entry:
        case SecretsEntry():
            return Detector("secrets", secrets_finder(), entry.action)
        case PiiEntry():
            finder = pii_finder(entry.kinds)
            return Detector("pii", finder, entry.action, _known_data(finder, entry.keep))
        case TermsEntry():
            return Detector("terms", terms_finder(entry.terms), entry.action)
        case LinksEntry():
            return Detector("links", _LINKS, entry.action, _known_hosts(entry.keep, egress))
        case _:
            return None


def terms_finder(terms: Iterable[str]) -> PatternFinder:
    """Finds terms as whole words, any case, any run of up to eight blanks between their words."""
    patterns = []
    for term in terms:
        words = _BLANKS.join(regex.escape(word) for word in unicodedata.normalize("NFKC", term).split())
        patterns.append(Pattern("term", rf"{_START}{words}(?!\w)", ignore_case=True))
    return PatternFinder(patterns)


def _until_punctuation(matched: str) -> Iterable[tuple[int, int]]:
    bare = _TO_BRACKET.match(matched)
    yield 0, len((bare.group() if bare else matched).rstrip(".,;:!?*"))


def _evidence(context: GuardContext, keep: tuple[Source, ...]) -> tuple[str, ...]:
    return (*((context.user_text,) if "user" in keep else ()), *(context.results if "results" in keep else ()))


def _known_data(finder: PatternFinder, keep: tuple[Source, ...]) -> Watch:
    def watch(context: GuardContext) -> Keep:
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
            return [finding for finding in findings if not values(text, [finding]) & evidence]

        return drop

    return watch


def _known_hosts(keep: tuple[Source, ...], egress: tuple[str, ...]) -> Watch:
    def watch(context: GuardContext) -> Keep:
        results = context.results if "results" in keep else ()

        @cache
        def known() -> frozenset[str]:
            return (hosts_in(context.user_text) if "user" in keep else frozenset()) - {""}

        @cache
        def written() -> tuple[str, ...]:
            """What the model wrote, which a tool or an error may only repeat."""
            plain = normalise(unescaped("\n".join(context.written))).casefold()
            return plain, unquote(plain)

        def stands(address: Address) -> bool:
            host, port = address
            return permitted(host, egress, port) or host in known()

        def repeated(link: str, addresses: Iterable[Address]) -> bool:
            names = {normalise(link).casefold(), *(host for host, _ in addresses)}
            return any(name in text for name in names for text in written())

        def vouched_for(link: str) -> bool:
            addresses = addresses_of(link)
            if all(map(stands, addresses)):
                return True
            # A result's link as it is: with its host alone known, another link could carry what was read to it.
            return any(_has_link(text, link) for text in results) and not repeated(link, addresses)

        def drop(text: str, findings: list[Finding]) -> list[Finding]:
            return [finding for finding in findings if not vouched_for(text[finding.start : finding.end])]

        return drop

    return watch


def _has_link(text: str, link: str) -> bool:
    """Whether a text has the link, and not only the beginning of a longer one."""
    at = text.find(link)
    while at >= 0:
        if len(link) < MOST_CHARS and Finding(at, at + len(link), "link") in _LINKS.at(text, at):
            return True
        at = text.find(link, at + 1)
    return False


# Markdown's closing bracket ends a link; commas and dots may be the sentence's.
_LINKS = PatternFinder([Pattern("link", URL, _until_punctuation, ignore_case=True)])
