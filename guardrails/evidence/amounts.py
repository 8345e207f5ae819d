"""Checks whether a call exceeds the limit of an ask rule."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, TypeGuard

import regex

from guardrails.evidence.origins import Origins
from guardrails.policy_document import AskRule
from guardrails.types import GuardContext, Read

_CURRENCY = r"(?:[A-Z]{3}|[€$£¥₹])"
_AMOUNT = regex.compile(rf"(?:{_CURRENCY} ?)?(?P<sign>[-+]?)(?P<digits>\d[\d,.' ]*)(?<=\d) ?{_CURRENCY}?")
_PLAIN = regex.compile(r"(\d++)(?:[.,](\d++))?")
_GROUPED = regex.compile(r"([1-9]\d{0,2}(?:([,.' ])\d{3})(?:\2\d{3})*+)(?:(?!\2)[.,](\d++))?")
_LONGEST = 64
"""Characters of the longest text that is read as an amount."""
_FORMS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'", "−": "-"})
"""Blanks, apostrophes and signs with which countries write numbers."""


def is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def exceeds(rule: AskRule, arguments: dict[str, Any], context: GuardContext) -> bool:
    """Whether the rule applies: it has no argument, or the argument is above the limit, unknown or not a number."""
    if rule.argument is None or rule.above is None:
        return True
    value = arguments.get(rule.argument)
    if rule.read is not None and (value is None or value in rule.read.when):
        value = looked_up(rule.read.key, rule.read.field, arguments, context)
    return not is_number(value) or not float(value) <= rule.above


def looked_up(key: str, field: str, arguments: dict[str, Any], context: GuardContext) -> float | None:
    """The highest value of ``field`` that trusted results of the session have for the call's ``key``; None if there is
    none, or an unclear one.

    A value is unclear if it is not a number, or if it is above all others and the model wrote it into an earlier call,
    since a tool may repeat it.
    """
    wanted = arguments.get(key)
    trusted: list[float] = []
    repeated: list[float] = []
    for content, origins, before in _trusted_results(context):
        for record in _records(content):
            if record.get(key) != wanted or wanted is None or record.get(field) is None:
                continue
            readings = _readings(record[field])
            if not readings:
                return None
            written = any(origins.wrote_number(Decimal(str(one)), before) for one in readings)
            (repeated if written else trusted).append(max(readings))
    highest = max((one for one in trusted if one >= 0), default=None)
    return highest if highest is None or max(repeated, default=0.0) <= highest else None


def _trusted_results(context: GuardContext) -> Iterator[tuple[Any, Origins, int]]:
    """Trusted results as JSON, of this run and the session's earlier ones. Each comes with what the models wrote, and
    with how many of those texts precede it."""
    own = Origins.of(context)
    for text, (_, before) in zip(context.trusted_results, own.results, strict=True):
        yield _json_of(text), own, before
    earlier = [read for read in context.trail.reads if read.run_id is not None] if context.trail else []
    if earlier:
        session = Origins.of_session(context)
        yield from ((_trusted(read), session, read.before) for read in earlier)


def _trusted(read: Read) -> Any:
    """The fields of a result that its tool trusts."""
    if "*" in read.trusted:
        return read.content
    rows = read.content if isinstance(read.content, list) else [read.content]
    return [{name: row[name] for name in read.trusted if name in row} for row in rows if isinstance(row, dict)]


def _json_of(text: str) -> Any:
    """The JSON value that a result begins with. A note may follow it."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(text.lstrip())[0]  # accepts raw line breaks (`as_read`)
    except ValueError:
        return None


def _records(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for value in below:
        yield from _records(value)


def _readings(value: Any) -> tuple[float, ...]:
    """The finite numbers that a value can mean: a number, or a text such as "1,250.00 EUR". Empty: it is no amount.

    "1.250 EUR" has two readings, since some countries write thousands so.
    """
    if is_number(value):
        return (float(value),) if math.isfinite(value) else ()
    if not isinstance(value, str) or len(value) > _LONGEST:
        return ()
    match = _AMOUNT.fullmatch(value.translate(_FORMS).strip())
    if match is None:
        return ()
    digits, sign = match["digits"], -1.0 if match["sign"] == "-" else 1.0
    plain, grouped = _PLAIN.fullmatch(digits), _GROUPED.fullmatch(digits)
    found = [f"{plain[1]}.{plain[2] or 0}"] if plain else []
    if grouped:
        found.append(f"{regex.sub(r'[^0-9]', '', grouped[1])}.{grouped[3] or 0}")
    return tuple(sign * number for one in found if math.isfinite(number := float(one)))
