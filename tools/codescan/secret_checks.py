"""Checks of secrets: literals under telling names, and random values that can be predicted."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.codescan.expressions import repeats_repetition
from tools.codescan.globs import matches
from tools.codescan.node import Kind, last
from tools.codescan.site import Site

_REGEX_CALLS = ("re.*", "regex.*", "Pattern.compile", "Pattern.matches", "*.matches", "*.replaceAll", "*.split")
_SECRET_NAME = re.compile(
    r"(passw(or)?d|passwd|(^|_)pwd|secret|token|api_?key|access_?key|private_?key|credential|signing_?key|auth_?key|"
    r"client_?secret|connection_?string|encryption_?key|jwt_?key)(_?(key|value|default))?$",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"^$|\s|^[<{$%*./]|[>}]$|example|changeme|change[-_ ]me|placeholder|your[-_]|xxx|dummy|redacted"
    r"|^(none|null|true|false)$|^(password|secret|token|api[_-]?key|bearer|basic|csrf_token)s?[:=]?$"
    r"|^(access|refresh)_token$|^[\w.-]+\.(txt|json|pem|key)$",
    re.IGNORECASE,
)
_IN_TEXT = re.compile(r"(?i)\b(?:password|passwd|pwd|secret)=([^\s;&'\"{}$<>%()\[\]]{4,})")
"""A password inside a connection string."""
_SETTER = re.compile(r"(?:set|with)_?([A-Z]\w+)$")
_CONNECT = ("DriverManager.getConnection",)
_RANDOM = ("random.random", "random.randint", "random.choice", "random.choices", "random.randrange", "random.sample",
           "random.getrandbits", "random.shuffle", "random.uniform", "random.randbytes", "Random.next*", "new Random",
           "Math.random", "ThreadLocalRandom.*", "*ThreadLocalRandom.current().*", "numpy.random.*", "uuid.uuid1",
           "random.Random", "random.Random().*", "RandomStringUtils.random*")  # fmt: skip
_GUARDS = re.compile(
    r"token|passw|secret|otp|(^|_)pin(_|$)|(^|_)key(_|$)|apikey|nonce|salt|session|csrf|(^|_)iv(_|$)|captcha|reset|"
    r"verification|auth|credential|invite|coupon|voucher|ticket|sid$|pincode|passcode|one_?time",
    re.IGNORECASE,
)


def redos(sites: list[Site]) -> Iterator[int]:
    """A regular expression repeats a repetition, so that a text can be matched in exponentially many ways."""
    for site in sites:
        if site.event == "call" and matches(_REGEX_CALLS, site.names):
            texts = [one.constant for one in site.args[:2] if isinstance(one.constant, str)]
            if any(repeats_repetition(text) for text in texts):
                yield site.line


def secrets(sites: list[Site]) -> Iterator[int]:
    """A literal is assigned to a name that means a secret, compared with one, or passed as one."""
    tests = {"assign": _assigns_secret, "compare": _compares_secret, "call": _passes_secret}
    return (site.line for site in sites if site.event in tests and tests[site.event](site))


def _passes_secret(site: Site) -> bool:
    texts = [value.constant[:2000] for value in site.args[:2] if isinstance(value.constant, str)]
    if any((match := _IN_TEXT.search(text)) and _is_secret(match[1]) for text in texts):
        return True
    if matches(_CONNECT, site.names) and len(site.args) == 3:
        return _is_secret(site.args[2].constant)
    setter = _SETTER.match(last(site.names[0]))  # setPassword("..."), withApiKey("...")
    named = setter is not None and bool(_SECRET_NAME.search(_snake(setter[1])))
    return named and len(site.args) == 1 and _is_secret(site.args[0].constant)


def _assigns_secret(site: Site) -> bool:
    known = site.args[0].constant if site.args else None
    if isinstance(known, str) and (match := _IN_TEXT.search(known[:2000])) and _is_secret(match[1]):
        return True
    name = _snake(last(site.names[0]).rstrip("]").rpartition("[")[2])
    return bool(_SECRET_NAME.search(name)) and any(_is_secret(value.constant) for value in site.args)


def _compares_secret(site: Site) -> bool:
    if len(site.args) != 2:
        return False
    named, literal = site.args if isinstance(site.args[1].constant, str) else site.args[::-1]
    known = literal.constant
    return isinstance(known, str) and len(known) > 5 and _is_secret(known) and bool(_SECRET_NAME.search(named.text))


def _is_secret(value: object) -> bool:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return isinstance(text, str) and len(text) > 3 and not _PLACEHOLDER.search(text)


def weak_random(sites: list[Site]) -> Iterator[int]:
    """A predictable random value in a function, or for a variable, whose name tells that it guards something."""
    found = [site for site in sites if site.event == "call" and matches(_RANDOM, site.names)]
    if not found:
        return
    scope = found[0].scope.node
    guarded = {
        id(below)
        for node in scope.walk()
        if node.kind is Kind.ASSIGN and _GUARDS.search(_snake(last(node.name)))
        for part in node.parts
        for below in part.walk()
    }
    owner = found[0].scope.owner
    names = (scope.name, owner.name if owner is not None else "")
    everywhere = any(_GUARDS.search(_snake(name)) for name in names)
    yield from (site.line for site in found if everywhere or id(site.node) in guarded)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name)
