"""Conditions of rules, as their files write them: what must or must not hold at a site."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flightloop.errors import ConfigError
from tools.codescan.globs import matches
from tools.codescan.node import Kind, Node, dotted, last
from tools.codescan.site import Site
from tools.codescan.values import EVERY, UNKNOWN, Level, Value

Test = Callable[[Site, str], bool]
"""Maps a site and the rule's topic to whether the condition holds."""
ValueTest = Callable[[Value | None, str], bool]


def condition(given: dict[str, Any]) -> Test:
    """A condition from its mapping. With ``arg``, one of the selected values must pass all tests.

    Raises:
        ConfigError: a key is unknown.
    """
    given = dict(given)
    where = given.pop("arg", None)
    if where is None:
        tests = [_site_test(key, value) for key, value in given.items()]
        return lambda site, topic: all(test(site, topic) for test in tests)
    select = _Selection(tuple(where) if isinstance(where, list) else (where,))
    wanted = [_value_test(key, value) for key, value in given.items()]
    return lambda site, topic: any(all(test(value, topic) for test in wanted) for value in select(site))


@dataclass(frozen=True)
class _Selection:
    """Selects values of a site: by position, keyword, or ``any``, ``rest`` (all but the first), ``receiver``."""

    keys: tuple[str | int, ...]

    def __call__(self, site: Site) -> Iterator[Value | None]:
        found = False
        for key in self.keys:
            for value in self._one(site, key):
                found = True
                yield value
        if not found:
            yield None

    @staticmethod
    def _one(site: Site, key: str | int) -> Iterator[Value]:
        if key == "any":
            yield from (*site.args, *site.keywords.values())
        elif key == "rest":
            yield from (*site.args[1:], *site.keywords.values())
        elif key == "receiver":
            yield from [site.receiver] if site.receiver is not None else []
        elif isinstance(key, int):
            yield from site.args[key : key + 1] if key >= 0 else site.args[-1:]
        elif key in site.keywords:
            yield site.keywords[key]


_LABELS = {
    "request": frozenset({"request", "socket"}),
    "archive": frozenset({"archive"}),
    "json": frozenset({"json"}),
    "exception": frozenset({"exception"}),
}


def _flow(kind: str) -> ValueTest:
    """Tests where a value comes from: ``variable`` (not constant) < ``outside`` (a caller decides) < ``source`` (read
    from outside, but not from the command line) < a label; ``built``: text put together of what is outside; ``remote``:
    a source, or built."""
    if kind in _LABELS:
        labels = _LABELS[kind]
        return _given(lambda value, topic: bool(value.labels & labels) and not value.is_clean(topic))
    tests: dict[str, Callable[[Value, str], bool]] = {
        "variable": lambda value, topic: value.level > Level.CONSTANT and not value.is_clean(topic),
        "outside": lambda value, topic: value.outside(topic),
        "built": lambda value, topic: value.outside(topic) and value.built,
        "source": lambda value, topic: _remote_source(value) and not value.is_clean(topic),
        "remote": lambda value, topic: (
            value.outside(topic) and value.labels != _CLI and (value.built or _remote_source(value))
        ),
    }
    if kind not in tests:
        raise ConfigError(f"rule: unknown flow {kind!r}; known: {sorted([*tests, *_LABELS])}", param="flow")
    return _given(tests[kind])


_CLI = frozenset({"cli"})


def _remote_source(value: Value) -> bool:
    return value.level is Level.SOURCE and value.labels != _CLI


def _given(test: Callable[[Value, str], bool]) -> ValueTest:
    return lambda value, topic: value is not None and test(value, topic)


def _constant(test: Callable[[Any], bool]) -> ValueTest:
    """Tests the constant of a value; false if there is none."""
    return lambda value, topic: value is not None and value.constant is not UNKNOWN and test(value.constant)


def _equals(given: Any) -> ValueTest:
    wanted = given if isinstance(given, list) else [given]
    return _constant(lambda known: any(type(known) is type(one) and known == one for one in wanted))


def _matches(given: str) -> ValueTest:
    expression = re.compile(given)
    return _constant(lambda known: isinstance(known, str) and bool(expression.search(known)))


def _mentions(given: str) -> ValueTest:
    """Tests the names that a value was computed from; a length or a hash of it mentions nothing."""
    expression = re.compile(given, re.IGNORECASE)
    return _given(
        lambda value, topic: (
            EVERY not in value.clean and any(expression.search(last(one)) for one in (*value.roots, value.text))
        )
    )


def _named(given: str) -> ValueTest:
    expression = re.compile(given, re.IGNORECASE)
    return _given(lambda value, topic: bool(expression.search(value.text)))


def _prefix(given: str) -> ValueTest:
    expression = re.compile(given)
    return _given(
        lambda value, topic: bool(
            expression.search(value.constant if isinstance(value.constant, str) else value.prefix)
        )
    )


_VALUE_TESTS: dict[str, Callable[[Any], ValueTest]] = {
    "flow": _flow,
    "equals": _equals,
    "matches": _matches,
    "mentions": _mentions,
    "named": _named,
    "prefix": _prefix,
    "missing": lambda given: lambda value, topic: (value is None) is given,
    "constant": lambda given: _given(lambda value, topic: (value.level is Level.CONSTANT) is given),
    "literal": lambda given: _constant(lambda known: isinstance(known, str | bytes) is given),
    "none": lambda given: _constant(lambda known: (known is None) is given),
    "below": lambda given: _constant(lambda known: type(known) in (int, float) and known < given),
    "bits": lambda given: _constant(lambda known: type(known) is int and bool(known & given)),
    "first": lambda given: _constant(lambda known: isinstance(known, tuple) and known[:1] in [(one,) for one in given]),
    "holds": lambda given: _constant(lambda known: known == given or (isinstance(known, tuple) and given in known)),
    "origin": lambda given: _given(lambda value, topic: matches(tuple(given), (value.origin, value.type))),
    "type": lambda given: _given(lambda value, topic: value.type in given),
}


def _value_test(key: str, given: Any) -> ValueTest:
    if key not in _VALUE_TESTS:
        raise ConfigError(f"rule: unknown test {key!r} of an argument; known: {sorted(_VALUE_TESTS)}", param=str(key))
    return _VALUE_TESTS[key](given)


def _in_names(select: Callable[[Site], Iterable[str]]) -> Callable[[Any], Test]:
    return lambda given: lambda site, topic: matches(tuple(given), select(site))


def _in_texts(select: Callable[[Site], Iterable[str]], flags: int = 0) -> Callable[[Any], Test]:
    def test(given: str) -> Test:
        expression = re.compile(given, flags)
        return lambda site, topic: any(expression.search(text) for text in select(site))

    return test


def _class_names(site: Site) -> list[str]:
    owner = site.scope.owner
    return [] if owner is None else [owner.name, *map(dotted, owner.parts)]


_SITE_TESTS: dict[str, Callable[[Any], Test]] = {
    "calls": _in_names(lambda site: site.scope.calls),
    "module_calls": _in_names(lambda site: site.scope.module.calls),
    "imports": _in_names(lambda site: site.scope.module.imports),
    "texts": _in_texts(lambda site: site.scope.texts),
    "line": _in_texts(lambda site: [site.scope.module.line(site.line)]),
    "name": _in_texts(lambda site: site.names, re.IGNORECASE),
    "function": _in_texts(lambda site: [site.scope.node.name], re.IGNORECASE),
    "marks": _in_texts(
        lambda site: [one.name if one.kind is Kind.CALL else dotted(one) for one in site.scope.node.marks]
    ),
    "class": _in_texts(_class_names),
    "body": lambda given: _BODIES[given],
    "returns": lambda given: lambda site, topic: site.scope.node.type in given,
}


def _site_test(key: str, given: Any) -> Test:
    if key not in _SITE_TESTS:
        raise ConfigError(f"rule: unknown condition {key!r}; known: arg, {sorted(_SITE_TESTS)}", param=str(key))
    return _SITE_TESTS[key](given)


def _statements(site: Site) -> list[Node]:
    """Statements of a body, without documentation, ``pass`` and ``...``."""
    silent = (Kind.BLOCK, Kind.JUMP, Kind.LITERAL)
    return [one for one in site.node.body if one.kind not in silent or one.body]


def _empty(site: Site, topic: str) -> bool:
    return not _statements(site) and site.node.value is not False


def _returns(value: Any) -> Test:
    def test(site: Site, topic: str) -> bool:
        body = _statements(site)
        alone = len(body) == 1 and body[0].kind is Kind.RETURN and len(body[0].parts) == 1
        return alone and body[0].parts[0].kind is Kind.LITERAL and body[0].parts[0].value is value

    return test


def _without_raise(site: Site, topic: str) -> bool:
    return not any(one.kind is Kind.RAISE for node in site.node.body for one in node.walk())


def _jumps(site: Site, topic: str) -> bool:
    return any(one.kind in (Kind.RETURN, Kind.JUMP) for node in site.node.orelse for one in node.walk())


_BODIES: dict[str, Test] = {
    "empty": _empty,
    "returns_true": _returns(True),
    "returns_null": _returns(None),
    "without_raise": _without_raise,
    "finally_jumps": _jumps,
}
