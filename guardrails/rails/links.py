"""Decides which links and hosts of a text may leave: those that the policy, the user or a result vouches for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from urllib.parse import unquote

import regex

from flightloop.egress import permits
from guardrails.egress_document import Egress
from guardrails.finders.bare_hosts import HOST, HOSTS, OPAQUE, as_url, host_of, is_numeric, names_in
from guardrails.finders.hosts import Address, addresses_of, hosts_in
from guardrails.finders.links import LINK, LINKS, MOST_LINKS, Images
from guardrails.finders.pattern import Finding
from guardrails.finders.placeholders import leads_nowhere
from guardrails.rail_entries import LinksEntry
from guardrails.rails.detector import FilterForContext
from guardrails.text.normalise import normalise, unescaped
from guardrails.text.spelling import as_read
from guardrails.types import GuardContext

_WITH_PATH = regex.compile(r"[^/\\]*[/\\]{1,4}[^/\\?#]+[/\\?#]")
MOST_READ = 200 * MOST_LINKS
"""Maximum number of characters of dotted words and the like that are read in a result to find its bare hosts."""
_DELIMITER = regex.compile(r"[,;|，；、。（]")


class AnyHostFinder:
    """Finds links, and hosts outside links (``bare_hosts``)."""

    def find(self, text: str, start: int = 0, before: int | None = None) -> list[Finding]:
        links = LINKS.find(text, start, before)
        ends = {link.start: link.end for link in links}
        bare = [one for one in HOSTS.find(text, start, before) if ends.get(one.start, 0) < one.end]
        return sorted([*links, *bare], key=lambda one: (one.start, one.label == HOST))

    def live(self, text: str, start: int = 0) -> int:
        return min(LINKS.live(text, start), HOSTS.live(text, start))


ANY_HOSTS = AnyHostFinder()


def vouched_for(entry: LinksEntry, egress: Egress) -> FilterForContext:
    """Keeps links to hosts that the user named or the policy permits, and unchanged links from results.

    Links that load without a click, such as images, are kept only from trusted results: the model could pick some of
    many links in an untrusted text to spell out a secret. In a tainted run that holds for all links.
    """

    def filter_for(context: GuardContext) -> Callable[[str, list[Finding]], list[Finding]]:
        chosen = _Vouched(entry, egress, context)
        return lambda text, findings: [finding for finding in findings if not chosen.kept(text, finding)]

    return filter_for


class _Vouched:
    """Findings of one text, which may only grow between calls."""

    def __init__(self, entry: LinksEntry, egress: Egress, context: GuardContext) -> None:
        self._egress, self._context = egress, context
        self._images, self._covered = Images(), 0
        self._said = context.user_text if "user" in entry.keep else ""
        self._trusted = context.trusted_results if {"results", "trusted"} & set(entry.keep) else ()
        self._results = context.results if "results" in entry.keep and not context.tainted else self._trusted

    def kept(self, text: str, finding: Finding) -> bool:
        """Whether a finding may leave."""
        form = text[finding.start : finding.end]
        if finding.label == OPAQUE:
            return form in self._said
        if finding.label == HOST and finding.start < self._covered:
            return True  # a part of a link that is kept
        stays = self._bare(text, finding, form) if finding.label == HOST else self._link(text, finding, form)
        if stays:
            self._covered = max(self._covered, end_of_cover(text, finding))
        return stays

    def _link(self, text: str, finding: Finding, link: str) -> bool:
        addresses = addresses_of(link)
        if link in self._own or self._named(link, addresses):
            return finding.label == LINK or _WITH_PATH.match(link) is not None
        if finding.label != LINK:
            return False
        if leads_nowhere(link, addresses) and not self._images.before(text, finding.start):
            return True
        return self._in_a_result(text, finding, [host for host, _ in addresses])

    def _bare(self, text: str, finding: Finding, form: str) -> bool:
        url = as_url(form)
        addresses = bare_addresses(url)
        if form in self._own or self._named(url, addresses) or leads_nowhere(url, addresses):
            return True
        return self._in_a_result(text, finding, [host_of(url)])

    def _named(self, url: str, addresses: Iterable[Address]) -> bool:
        return all(vouched(url, address, self._known, self._egress) for address in addresses)

    def _in_a_result(self, text: str, finding: Finding, hosts: Iterable[str]) -> bool:
        """Whether a result has the link. An unchanged one only: another link to its host could carry out data."""
        link = text[finding.start : finding.end]
        sources = self._trusted if self._images.before(text, finding.start) else self._results
        return any(link in links_of(one, self._context) for one in sources) and not self._repeated(link, hosts)

    def _repeated(self, link: str, hosts: Iterable[str]) -> bool:
        """Whether the model wrote the link or its host into a call, so that a result may merely repeat it."""
        names = {normalise(link).casefold(), *hosts}
        texts = [text for call in self._context.written for text in _written(call, self._context)]
        return any(name in text for text in texts for name in names)

    @cached_property
    def _known(self) -> frozenset[str]:
        return hosts_named(self._said)

    @cached_property
    def _own(self) -> frozenset[str]:
        return links_of(self._said, self._context)


def end_of_cover(text: str, finding: Finding) -> int:
    """Where a link or host ends for people: up to here, names in it belong to it."""
    end = _DELIMITER.search(text, finding.start, finding.end)
    return end.start() if end else finding.end


def hosts_named(text: str) -> frozenset[str]:
    """Hosts of all links and names in a user's text, those that are rather files or attributes included."""
    return (hosts_in(text) | names_in(text)) - {""}


def bare_addresses(url: str) -> frozenset[Address]:
    """Addresses of a URL in the form of ``as_url``, with IPv4 addresses in dotted form."""
    return frozenset((host_of(url) if is_numeric(host) else host, port) for host, port in addresses_of(url))


def vouched(url: str, address: Address, known: frozenset[str], egress: Egress) -> bool:
    """Whether the user named a URL's host or the policy permits it, and the URL has a shape that the policy allows."""
    host, port = address
    allowed = host in known or permits(egress.hosts, host, port)
    return allowed and all(egress.fits(one, host, port) for one in {url, as_read(url)})


def links_of(text: str, context: GuardContext) -> frozenset[str]:
    """The first links and bare hosts of a text, cached for the run."""
    found = context.memo.get((AnyHostFinder, text))
    if not isinstance(found, frozenset):
        bare = HOSTS.first(text, MOST_LINKS, MOST_READ)
        found = LINKS.links(text) | {text[one.start : one.end] for one in bare if one.label == HOST}
        context.memo[AnyHostFinder, text] = found
    return found


def _written(call: str, context: GuardContext) -> tuple[str, ...]:
    """Normal forms of a call that the model wrote, plain and URL-decoded. A result may merely repeat it."""
    found = context.memo.get((AnyHostFinder, "written", call))
    if not isinstance(found, tuple):
        plain = normalise(unescaped(call)).casefold()
        found = context.memo[AnyHostFinder, "written", call] = (plain, unquote(plain))
    return found
