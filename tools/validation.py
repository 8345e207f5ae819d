"""Checks a call's arguments against a tool's schema in limited time, since both may come from outside.

``patternProperties``, ``unevaluatedProperties``, ``unevaluatedItems``, and patterns that are large or once took too
long are checked only by the tool's process, which validates all arguments again.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from itertools import chain, islice
from typing import Any

import regex
from jsonschema import Draft202012Validator, FormatChecker, SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry

from flightloop.patterns import to_the_end
from flightloop.schemas import REFERENCES, Place, subschemas, values

log = logging.getLogger(__name__)
MOST_SECONDS = 0.25
"""CPU time of the checking thread; time spent waiting doesn't count."""
PATTERN_SECONDS = 0.05
MOST_ERRORS = 1000
LONGEST_PATTERN, MOST_REPETITIONS = 1000, 10_000
ADDRESSES = ("$schema", "$id", "$anchor", "$dynamicAnchor")

_FORMATS = FormatChecker(formats=())
# Without "regex", which would compile the argument.
_FORMATS.checkers = {name: one for name, one in Draft202012Validator.FORMAT_CHECKER.checkers.items() if name != "regex"}

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
_deadline: ContextVar[float] = ContextVar("deadline")
_slow: set[str] = set()


class Unchecked(Exception):
    """The arguments could not be checked; the message says why."""


class TookTooLong(Unchecked):
    """The time for a check was over."""


def validator_of(schema: Mapping[str, Any]) -> Any:
    """A validator for `errors_of`. Reads every schema as JSON Schema 2020-12 and ignores `ADDRESSES`:
    otherwise parts in another dialect would follow other rules, and URLs would be fetched."""
    return _validator_of(schema, formats=_FORMATS)


def _validator_of(schema: Mapping[str, Any], formats: FormatChecker | None) -> Any:
    return ArgumentsValidator(_without_addresses(schema), registry=Registry(), format_checker=formats)


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises SchemaError if the schema is invalid, or if a time-limited check finds an unusable pattern in it."""
    Draft202012Validator.check_schema(schema, format_checker=_FORMATS)
    deadline = time.monotonic() + MOST_SECONDS
    for pattern in _patterns(schema):
        if time.monotonic() > deadline:
            return
        try:
            if not is_large(pattern):
                regex.compile(to_the_end(pattern))
        except regex.error as error:
            raise SchemaError(f"the pattern {pattern!r} can't be used: {error}") from None


def unfit_defaults(schema: Mapping[str, Any]) -> dict[Place, str]:
    """Defaults of properties that their own schemas reject, by place within the schema, with the reason.

    Such a default can't be filled in, so people and rules would not see the value that the tool uses. Formats are not
    checked. Raises Unchecked: that takes too long.
    """
    validator, found = _validator_of(schema, formats=None), {}
    deadline = time.thread_time() + MOST_SECONDS
    for place, node in subschemas(schema):
        properties = node.get("properties")
        for name, declared in properties.items() if isinstance(properties, Mapping) else ():
            if isinstance(declared, Mapping) and "default" in declared:
                own = validator.evolve(schema=_without_addresses(declared))
                if errors := errors_of(own, declared["default"], deadline - time.thread_time()):
                    found[(*place, "properties", name)] = errors[0].message
    return found


def weight(schema: Mapping[str, Any]) -> float:
    """Maximum number of checks per value. Infinite with patterns and references, whose work the size doesn't limit."""
    endless = any(map(_leads_on, _mappings(schema)))
    return math.inf if endless else values(schema)


def _leads_on(node: Mapping[str, Any]) -> bool:
    return "pattern" in node or any(keyword in node for keyword in REFERENCES)


def _mappings(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping):
        yield node
        yield from chain.from_iterable(map(_mappings, node.values()))
    elif isinstance(node, list):
        yield from chain.from_iterable(map(_mappings, node))


def _patterns(schema: Mapping[str, Any]) -> Iterator[str]:
    return (node["pattern"] for node in _mappings(schema) if isinstance(node.get("pattern"), str))


def errors_of(validator: Any, arguments: Any, seconds: float = MOST_SECONDS) -> list[ValidationError]:
    """Errors, sorted by their place; at most `MOST_ERRORS`. Raises Unchecked: a check that takes longer than
    ``seconds`` twice, for one of a few values may have paid for a garbage collection of the whole process."""
    try:
        return _errors_in(seconds, validator, arguments)
    except TookTooLong:
        return _errors_in(seconds, validator, arguments)


def _errors_in(seconds: float, validator: Any, arguments: Any) -> list[ValidationError]:
    before = _deadline.set(time.thread_time() + seconds)
    try:
        found = list(islice(validator.iter_errors(arguments), MOST_ERRORS))
    except Unchecked:
        raise
    except Exception as error:  # for a valid schema that can't be evaluated
        raise Unchecked(f"the tool's schema can't be used: {str(error)[:200]}") from None
    finally:
        _deadline.reset(before)
    return sorted(found, key=lambda error: list(map(str, error.path)))


def _without_addresses(node: Any) -> Any:
    if isinstance(node, Mapping):
        kept = {key: value for key, value in node.items() if not (key in ADDRESSES and isinstance(value, str))}
        return {key: _without_addresses(value) for key, value in kept.items()}
    return [_without_addresses(item) for item in node] if isinstance(node, list) else node


def _in_time(keyword: Keyword) -> Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if time.thread_time() > _deadline.get():
            raise TookTooLong("the arguments take too long to check: give fewer or shorter values")
        yield from keyword(validator, value, instance, schema) or ()

    return check


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "string") or pattern in _slow or is_large(pattern):
        return
    try:
        found = regex.search(to_the_end(pattern), instance, timeout=PATTERN_SECONDS)
    except TimeoutError:
        log.warning("the pattern %s takes too long and is not checked again", pattern)
        _slow.add(pattern)
        return
    except regex.error as error:
        yield ValidationError(f"the tool's pattern {pattern!r} can't be used: {error}")
        return
    if not found:
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def is_large(pattern: str) -> bool:
    """Whether compiling the pattern, which has no time limit, may take much time or memory: repetitions multiply."""
    counts = [[*map(int, regex.findall(r"\d+", braces))] for braces in regex.findall(r"\{[\d, ]+\}", pattern)]
    return len(pattern) > LONGEST_PATTERN or math.prod(max([1, *each]) for each in counts) > MOST_REPETITIONS


def _unique(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    items = instance if wanted and validator.is_type(instance, "array") else []
    if len({json.dumps(item, sort_keys=True) for item in items}) < len(items):
        yield ValidationError(f"{instance!r} has non-unique elements")


def _additional(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if "patternProperties" not in schema:
        yield from Draft202012Validator.VALIDATORS["additionalProperties"](validator, allowed, instance, schema)


def _unchecked(validator: Any, value: Any, instance: Any, schema: Any) -> None:
    return None


ArgumentsValidator = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        name: _in_time(keyword)
        for name, keyword in {
            **Draft202012Validator.VALIDATORS,
            "pattern": _pattern,
            "patternProperties": _unchecked,
            "unevaluatedProperties": _unchecked,
            "unevaluatedItems": _unchecked,
            "additionalProperties": _additional,
            "uniqueItems": _unique,
        }.items()
    },
)
