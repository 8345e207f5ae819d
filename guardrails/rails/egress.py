"""Rail of stage tool_call: which hosts and URLs may leave in a call's arguments."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import regex

from flightloop.egress import permits, shown
from flightloop.tool import Permission
from flightloop.verdicts import Action
from guardrails.aside import aside
from guardrails.egress_document import Egress
from guardrails.finders.argument_hosts import addresses_in_arguments
from guardrails.finders.bare_hosts import HOST, OPAQUE, as_url
from guardrails.finders.hosts import Address, addresses_of
from guardrails.finders.placeholders import leads_nowhere
from guardrails.policy_document import PolicyDocument
from guardrails.rails.calls import Problem, call_of, characters_of, judgement_of, stays_here
from guardrails.rails.detector import found_in
from guardrails.rails.links import ANY_HOSTS, bare_addresses, end_of_cover, hosts_named, links_of, vouched
from guardrails.text.scalars import scalar_texts
from guardrails.types import Checked, CheckedCall, GuardContext, Judgement, Rail

SHOWN = 100
"""Longest part of a finding that a reason quotes, in characters."""
UNFIT = "has a path or a query that the policy's egress urls do not allow"
_ENDS = "".join(map(chr, range(33)))
"""Characters that clients remove from both ends of a URL."""


def egress_rail(document: PolicyDocument) -> Rail:
    """Checks what leaves in the arguments of a call.

    - Tools that reach the network, and sinks: every address must be among the policy's hosts, in a URL of an allowed
      shape.
    - All tools, those that only read included: the policy, the user's words or a trusted result must vouch for every
      link and host. A call of another agent is left to that agent's own calls.
    """

    async def check(checked: Checked) -> Judgement:
        call, context = call_of(checked), checked.context
        egress = document.egress
        problems = await aside(
            characters_of(checked, evidence=True),
            lambda: [*_problems(call, context, egress)],
        )
        return judgement_of("egress", checked, problems)

    return check


def _problems(call: CheckedCall, context: GuardContext, egress: Egress) -> Iterator[Problem]:
    reaches = Permission.NETWORK in call.spec.permissions
    watched = {name: value for name, value in call.arguments.items() if reaches or name in call.spec.sinks}
    yield from _unreachable(call, watched, egress)
    unfit = dict(_unfit(watched, egress)) if egress.urls else {}
    for form, why in unfit.items():
        yield Action.BLOCK, "url", f"{form[:SHOWN]} {why}"
    if call.spec.agent is None and egress.arguments is not Action.ALLOW:
        yield from _unknown_hosts(call, context, egress, unfit)


def _unreachable(call: CheckedCall, watched: dict[str, Any], egress: Egress) -> Iterator[Problem]:
    reasons = set()
    for name, value in watched.items():
        for host, port in set(addresses_in_arguments({name: value}, call.spec.sinks)):
            if not host:
                reasons.add(f"{name} has an address without a host that can be read: {str(value)[:SHOWN]}")
            elif not permits(egress.hosts, host, port):
                reasons.add(f"{shown(host, port)} is not among the policy's egress hosts")
    for reason in sorted(reasons):
        yield Action.BLOCK, "egress", reason


def _unfit(watched: dict[str, Any], egress: Egress) -> Iterator[tuple[str, str]]:
    """URLs of allowed hosts whose shape is not allowed, each with the reason."""
    for form, url, addresses in (*_hosts_in(watched), *_whole_urls(watched)):
        if not all(egress.fits(url, host, port) for host, port in addresses):
            gap = regex.search(r"\s", form)
            yield form, "holds a blank or a line break: encode it (%20)" if gap else UNFIT


def _unknown_hosts(
    call: CheckedCall, context: GuardContext, egress: Egress, unfit: Collection[str]
) -> Iterator[Problem]:
    forms = [*_hosts_in(call.arguments)]
    known = hosts_named(context.user_text) if forms else frozenset()
    own = links_of(context.user_text, context) if forms else frozenset()
    for form, url, addresses in forms:
        if form in own or (addresses and all(vouched(url, one, known, egress) for one in addresses)):
            continue
        if leads_nowhere(url, addresses, paths=False):
            continue  # a tool that connects is stopped by ``_unreachable``
        if any(form in links_of(text, context) for text in _vouching(call, context, form)):
            continue
        if addresses and all(host in known or permits(egress.hosts, host, port) for host, port in addresses):
            if form not in unfit:
                yield egress.arguments, "link", f"{form[:SHOWN]} {UNFIT}"
            continue
        why = "is neither allowed by the policy's egress hosts nor told by the user or a trusted result"
        yield egress.arguments, "link", f"{form[:SHOWN]} {why}"


def _vouching(call: CheckedCall, context: GuardContext, form: str) -> Iterator[str]:
    """Results that vouch for a form in a call: all of them if the arguments stay here, otherwise trusted ones that did
    not repeat it from an earlier call."""
    if stays_here(call.spec):
        yield from context.results
    for index, text in enumerate(context.trusted_results):
        before = context.written_before[index] if index < len(context.written_before) else len(context.written)
        if not any(form in written for written in context.written[:before]):
            yield text


def _whole_urls(arguments: dict[str, Any]) -> Iterator[tuple[str, str, frozenset[Address]]]:
    """Arguments that begin as a URL, like ``_hosts_in``. A client sends such a value as a whole, also behind a blank or
    a quote that would end the link in a text."""
    for text in scalar_texts(arguments):
        value = text.strip(_ENDS)
        plain = regex.sub(r"[\t\r\n]", "", value)
        for readable in dict.fromkeys((value, plain)):
            first = next((one for one in ANY_HOSTS.find(readable, 0, 1) if one.label != OPAQUE), None)
            if first is not None:
                found = readable[: first.end]
                bare = first.label == HOST
                addresses = bare_addresses(as_url(found)) if bare else addresses_of(found)
                yield value, as_url(value) if bare else value, addresses


def _hosts_in(arguments: dict[str, Any]) -> Iterator[tuple[str, str, frozenset[Address]]]:
    """Links and hosts in arguments: the form, its URL and its addresses, of which an opaque link has none."""
    within, covered = "", 0
    for text, finding in found_in(ANY_HOSTS, arguments):
        if text is not within:
            within, covered = text, 0
        form = text[finding.start : finding.end]
        if finding.label == OPAQUE:
            yield form, form, frozenset()
        elif finding.label != HOST:
            covered = max(covered, end_of_cover(text, finding))
            yield form, form, addresses_of(form)
        elif finding.start >= covered:  # otherwise a part of a link, which decides
            yield form, as_url(form), bare_addresses(as_url(form))
