"""Finds the addresses that a tool may connect to in a call's arguments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address
from socket import inet_aton
from typing import Any
from urllib.parse import unquote

import regex

from flightloop.egress import address_text, is_address
from guardrails.finders.hosts import Address, addresses_in, addresses_of, is_url
from guardrails.text.normalise import normalise
from guardrails.text.scalars import scalar_texts

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
FIRST_NUMBER = 1 << 24
"""1.0.0.0 as an integer. Smaller integers aren't read as addresses."""
_IN_BRACKETS = regex.compile(r"\s*(?:\w[\w+.-]{0,20}:)?/{0,2}(\[[\da-fA-F:.]+\](?::\d+)?(?:[/?#]\S*)?)\s*")


def addresses_in_arguments(arguments: dict[str, Any], sinks: tuple[str, ...]) -> Iterator[Address]:
    """Addresses of all URLs in arguments, and of bare names where an address is expected: in ``sinks``, and in
    arguments named like one."""
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
