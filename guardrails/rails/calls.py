"""Rails of stage tool_call and of the plan: which tools may be called, and with which arguments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address
from socket import inet_aton
from typing import Any
from urllib.parse import unquote

import regex

from flightloop.egress import address_text, is_address, shown
from flightloop.patterns import to_the_end
from flightloop.tool import Permission
from flightloop.verdicts import Action, Verdict
from guardrails.aside import aside
from guardrails.evidence.amounts import exceeds, is_number
from guardrails.evidence.origins import Origins
from guardrails.finders.hosts import Address, addresses_in, addresses_of, is_url, permitted
from guardrails.policy_document import ArgumentRule, AskRule, PolicyDocument
from guardrails.rails.filled import filled, has_unknown_default
from guardrails.text.normalise import normalise
from guardrails.text.scalars import scalar_texts
from guardrails.text.spelling import most_characters
from guardrails.text.words import stands_in
from guardrails.types import Checked, CheckedCall, GuardContext, Judgement, Rail, severest

Problem = tuple[Action, str, str]
"""Action, label, reason."""

_ADDRESS_NAME = regex.compile(
    r"url|uri|link|href|site|host|domain|endpoint|server|webhook|callback|proxy|destination|feed|origin|address|\bip\b",
    regex.IGNORECASE,
)
_BARE_ADDRESS = regex.compile(
    r"\s*(?:\w[\w+.-]{0,20}:)?/{0,2}((?:(?:[\w-]{1,63}\.){1,30}(?=[\w-]*[^\W\d])[\w-]{2,63}|localhost)"
    r"(?::\d+)?(?:[/?#]\S*)?)\s*",
    regex.IGNORECASE,
)
_BEFORE_HOST = regex.compile(
    r"^(?:(?:[a-z][a-z\d+.-]*:)*[/]{2,}|(?:[a-z][a-z\d+.-]*:)+[/]?(?=[^\d/]))", regex.IGNORECASE
)
_NUMBERS = regex.compile(r"(?:0x[\da-fA-F]+|\d+)(?:\.(?:0x[\da-fA-F]+|\d+)){0,3}")
BY_EFFECT = "effect"
"""Label of a verdict that asks because of the tool's declared effect."""
FIRST_NUMBER = 1 << 24
"""1.0.0.0 as an integer. Smaller integers aren't read as addresses."""
_IN_BRACKETS = regex.compile(r"\s*(?:\w[\w+.-]{0,20}:)?/{0,2}(\[[\da-fA-F:.]+\](?::\d+)?(?:[/?#]\S*)?)\s*")


def arguments_rail(document: PolicyDocument) -> Rail:
    """Checks the allow-list, the plan lock, argument rules and ask rules."""

    async def check(checked: Checked) -> Judgement:
        call, context = _call(checked), checked.context
        problems = await aside(
            _characters(checked, evidence=document.tools.reads_evidence(call.spec.name, call.spec.effect)),
            lambda: [
                *_not_allowed(document, context, call.spec.name),
                *_off_plan(document, context, call),
                *_broken_rules(document, context, call),
                *_asked(document, context, call),
            ],
        )
        return _judgement("arguments", checked, problems)

    return check


def origin_rail(document: PolicyDocument) -> Rail:
    """Checks where a sink argument's value comes from, and whether a tainted run may write."""

    async def check(checked: Checked) -> Judgement:
        call, context = _call(checked), checked.context
        problems: list[Problem] = []
        if call.spec.sinks and document.tools.sinks is not Action.ALLOW:
            for name in await aside(_characters(checked, evidence=True), _unknown_sinks, call, context):
                reason = f"{name} occurs neither in the user's words nor in a trusted tool's result"
                problems.append((document.tools.sinks, "sink", reason))
        watched = call.spec.writes and call.spec.name not in document.tools.harmless
        if context.tainted and watched and document.tools.tainted_writes is not Action.ALLOW:
            reason = "a tool result looked like an instruction, and this call changes something"
            problems.append((document.tools.tainted_writes, "tainted", reason))
        return _judgement("origin", checked, problems)

    return check


def egress_rail(document: PolicyDocument) -> Rail:
    """Checks hosts and ports in the arguments of tools that reach the network, and in all sink arguments."""

    async def check(checked: Checked) -> Judgement:
        call = _call(checked)
        reaches = Permission.NETWORK in call.spec.permissions
        watched = {name: value for name, value in call.arguments.items() if reaches or name in call.spec.sinks}
        named = await aside(_characters(checked), lambda: sorted(set(_addresses(watched, call.spec.sinks))))
        problems: list[Problem] = [
            (Action.BLOCK, "egress", f"{shown(host, port)} is not among the policy's egress hosts")
            for host, port in named
            if not permitted(host, document.egress.hosts, port)
        ]
        return _judgement("egress", checked, problems)

    return check


def plan_rail(document: PolicyDocument) -> Rail:
    """Checks that a plan names only tools that its agent may call."""

    async def check(checked: Checked) -> Judgement:
        problems = [
            problem for tool in checked.context.plan for problem in _not_allowed(document, checked.context, tool)
        ]
        return _judgement("plan", checked, problems)

    return check


def violation(rule: ArgumentRule, value: Any) -> str | None:
    """Reason why a value breaks a rule; None if it doesn't. ``from_user_words`` isn't checked here."""
    checks = (
        (rule.enum is None or any(_same(value, item) for item in rule.enum), f"is not one of {rule.enum}"),
        (rule.const is None or _same(value, rule.const), f"is not {rule.const!r}"),
        (rule.max_length is None or _length(value) <= rule.max_length, f"is longer than {rule.max_length} characters"),
        (rule.minimum is None or (is_number(value) and value >= rule.minimum), f"is not at least {rule.minimum}"),
        (rule.maximum is None or (is_number(value) and value <= rule.maximum), f"is not at most {rule.maximum}"),
        (rule.pattern is None or _matches(rule.pattern, value), f"does not match {rule.pattern}"),
    )
    return next((reason for good, reason in checks if not good), None)


def _characters(checked: Checked, *, evidence: bool = False) -> int:
    """Characters to search: the arguments, and with ``evidence`` the texts that they are looked up in."""
    own = sum(map(most_characters, scalar_texts(_call(checked).arguments)))
    return own + checked.context.characters if evidence else own


def _unknown_sinks(call: CheckedCall, context: GuardContext) -> list[str]:
    """Sink arguments whose values have no trusted origin."""
    given = {
        name: scalar_texts(call.arguments[name]) for name in call.spec.sinks if call.arguments.get(name) is not None
    }
    origins = Origins.of(context) if given else None
    return [name for name, values in given.items() if origins and not all(map(origins.vouches_for, values))]


def _call(checked: Checked) -> CheckedCall:
    if checked.call is None:
        raise ValueError("stage tool_call needs a call")
    return checked.call


def _not_allowed(document: PolicyDocument, context: GuardContext, tool: str) -> Iterator[Problem]:
    allowed = document.tools.allowed(context.agent)
    if tool not in allowed and "*" not in allowed:
        yield Action.BLOCK, "allow_list", f"{tool} is not allowed for agent {context.agent!r}"


def _off_plan(document: PolicyDocument, context: GuardContext, call: CheckedCall) -> Iterator[Problem]:
    if document.tools.lock_to_plan != "off" and call.spec.writes and not context.plans(call.spec.name):
        yield Action(document.tools.lock_to_plan), "plan", f"{call.spec.name} changes something and is not in the plan"


def _broken_rules(document: PolicyDocument, context: GuardContext, call: CheckedCall) -> Iterator[Problem]:
    given = filled(call)
    for name, rule in document.tools.arguments.get(call.spec.name, {}).items():
        if name not in given:
            if has_unknown_default(call, name):
                why = "must be given: the policy limits it, and its default is not known"
                yield Action.BLOCK, "argument", f"{name} {why}"
            continue
        value = given[name]
        if reason := violation(rule, value):
            yield Action.BLOCK, "argument", f"{name} {reason}"
        # An empty text is no word of the user's; some tools take it to mean everything.
        blank = name in call.arguments and isinstance(value, str) and not value.strip()
        if rule.from_user_words and (blank or not stands_in(value, (context.user_text,))):
            yield Action.BLOCK, "argument", f"{name} does not occur in the user's own words"


def _asked(document: PolicyDocument, context: GuardContext, call: CheckedCall) -> Iterator[Problem]:
    for rule in document.tools.ask:
        named = call.spec.name == rule.tool or call.spec.effect is rule.effect
        if named and _is_unsure(rule, call) and exceeds(rule, filled(call), context):
            label = BY_EFFECT if rule.effect else "ask"
            why = f"the policy wants a person to decide about {call.spec.name}"
            if rule.confidence_below is not None:
                why += f": the model gives its calls a probability of {call.confidence:.0%}"
            yield Action.ASK, label, rule.reason or why


def _is_unsure(rule: AskRule, call: CheckedCall) -> bool:
    """Whether the model is as unsure as the rule demands."""
    if rule.confidence_below is None:
        return True
    return call.confidence is not None and call.confidence < rule.confidence_below


def _addresses(arguments: dict[str, Any], sinks: tuple[str, ...]) -> Iterator[Address]:
    for name, value in arguments.items():
        named = any(map(_ADDRESS_NAME.search, (name, *_keys(value))))
        for leaf in scalar_texts(value):
            plain = _as_clients_read(leaf)
            found = {*addresses_in(leaf), *addresses_in(plain)}
            # A bare name counts as an address where an address is expected: "evil.com", "//evil.com/x", "[::1]:8080".
            for text in {leaf, plain} if named or name in sinks else ():
                if not is_url(text):
                    found.update(_bare(text))
            yield from found
            known = {host for host, _ in found}
            for text in _hosts_of(plain) if named else ():
                yield from (address for address in _bare(text) if address[0] not in known)


def _as_clients_read(text: str) -> str:
    """A host or URL as lenient clients parse it: ``。`` as a dot, backslashes as slashes, no tabs or line breaks."""
    plain = regex.sub(r"[\t\r\n]", "", normalise(text)).replace("\u3002", ".").replace("\\", "/").strip()
    return regex.sub(r"(?<!\.)\.++(?=[:/?#]|$)", "", plain)


def _hosts_of(text: str) -> Iterator[str]:
    """Possible host and port in each word of a text: without scheme, user and path."""
    for word in regex.split(r"[\s,;=|<>(){}'\"]+", unquote(text)):
        for rest in {word, _BEFORE_HOST.sub("", word)}:
            host = regex.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
            yield regex.sub(r"(?<=[^:]):[^:]*(?::[^:]*)?$", "", host) if host.count(":") <= 2 else host


def _keys(value: Any) -> Iterator[str]:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    yield from value if isinstance(value, dict) else ()
    for one in below:
        yield from _keys(one)


def _bare(text: str) -> Iterator[Address]:
    match = _BARE_ADDRESS.fullmatch(text) or _IN_BRACKETS.fullmatch(text)
    if match:
        yield from addresses_of("https://" + match.group(1))
    elif is_address(text.strip()):
        yield from addresses_of("https://" + address_text(text.strip(), 443))
    elif _NUMBERS.fullmatch(text):
        with suppress(OSError):  # the C library reads 16909060, 1.2.772 and 0x1020304 as 1.2.3.4
            address = IPv4Address(inet_aton(text))
            if "." in text or int(address) >= FIRST_NUMBER:
                yield from addresses_of(f"https://{address}")


def _judgement(rail: str, checked: Checked, problems: list[Problem]) -> Judgement:
    verdict = Verdict(
        action=severest(action for action, _, _ in problems),
        rail=rail,
        stage=checked.stage,
        reason="; ".join(dict.fromkeys(reason for _, _, reason in problems)),
        labels=list(dict.fromkeys(label for _, label, _ in problems)),
    )
    return Judgement((verdict,))


def _same(value: Any, wanted: Any) -> bool:
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else len(str(value))


def _matches(pattern: str, value: Any) -> bool:
    return isinstance(value, str) and regex.search(to_the_end(pattern), value, timeout=0.05) is not None
