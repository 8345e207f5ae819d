"""The finders of a policy: secrets, personal data, terms, links. The same for a whole text and for a stream."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable

import regex

from guardrails.document import AnyEntry, LinksEntry, PiiEntry, SecretsEntry, Source, TermsEntry
from guardrails.finders import Finding, Pattern, PatternFinder, not_after
from guardrails.hosts import URL, Address, addresses_of, hosts_in, permitted
from guardrails.rails.found import Detector, Watch
from guardrails.rails.normalise import unescaped
from guardrails.rails.pii import pii_finder, values
from guardrails.rails.secrets import secrets_finder
from guardrails.types import GuardContext

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


def _links_in(text: str) -> frozenset[str]:
    found = _LINKS.find(text)
    return frozenset(text[one.start : one.end] for one in found)


def _until_punctuation(matched: str) -> Iterable[tuple[int, int]]:
    bare = regex.match(r"(?:[^\s/?#]*[/\\]{1,4}[^\s/?#\"<]{0,200}@)?[^)\]]*", matched)
    end = len((bare.group() if bare else matched).rstrip(".,;:!?*"))
    yield 0, end


def _evidence(context: GuardContext, keep: tuple[Source, ...]) -> str:
    parts = [context.user_text] if "user" in keep else []
    return "\n".join([*parts, *(context.results if "results" in keep else ())])


def _known_data(finder: PatternFinder, keep: tuple[Source, ...]) -> Watch:
    def watch(context: GuardContext) -> Keep:
        known: list[frozenset[tuple[str, str]]] = []

        def drop(text: str, findings: list[Finding]) -> list[Finding]:
            if not known:
                evidence = _evidence(context, keep)
                known.append(values(evidence, finder.find(evidence)))
            return [finding for finding in findings if not values(text, [finding]) & known[0]]

        return drop

    return watch


def _known_hosts(keep: tuple[Source, ...], egress: tuple[str, ...]) -> Watch:
    def watch(context: GuardContext) -> Keep:
        known = hosts_in(_evidence(context, ("user",) if "user" in keep else ()))
        links = _links_in(_evidence(context, ("results",) if "results" in keep else ()))
        written = unescaped(context.written)  # what the model wrote, a tool or an error may only repeat
        links = frozenset(link for link in links if link not in written)

        def stands(address: Address) -> bool:
            host, port = address
            return host in known or permitted(host, egress, port)

        def drop(text: str, findings: list[Finding]) -> list[Finding]:
            named = [(finding, text[finding.start : finding.end]) for finding in findings]
            # A result's link as it is: with its host alone known, another link could carry what was read to it.
            others = [(finding, addresses_of(link)) for finding, link in named if link not in links]
            return [finding for finding, addresses in others if not all(map(stands, addresses))]

        return drop

    return watch


# Markdown's closing bracket ends a link; commas and dots may be the sentence's.
_LINKS = PatternFinder([Pattern("link", URL, _until_punctuation, ignore_case=True)])
