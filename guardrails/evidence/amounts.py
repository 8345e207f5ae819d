"""Checks whether a call exceeds the limit of an ask rule."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, TypeGuard

import regex

from guardrails.evidence.origins import Origins
from guardrails.policy_document import AskRule, ReadRule
from guardrails.text.words import number_of
from guardrails.types import GuardContext

_LEADING_NUMBER = regex.compile(r"(?:\s*[-+]?\d[\d,.' ]*\d|\s*[-+]?\d)(?![\d\w])")
_THOUSANDS = regex.compile(r"\s*[-+]?\d{1,3}[,.']\d{3}")
"""A number such as 1.250, which some countries read as thousands. A limit is checked against the higher reading."""


def is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def exceeds(rule: AskRule, arguments: dict[str, Any], context: GuardContext) -> bool:
    """Whether the rule applies: it has no argument, or the argument is above the limit, unknown or not a number."""
    if rule.argument is None or rule.above is None:
        return True
    value = arguments.get(rule.argument)
    if rule.read is not None and (value is None or value in rule.read.when):
        value = _read(rule.read, arguments, context)
    return not is_number(value) or not float(value) <= rule.above


def _read(rule: ReadRule, arguments: dict[str, Any], context: GuardContext) -> float | None:
    """The highest value that trusted results contain for the call's key; None if there is none, or an unclear one.

    A value is unclear if it is not a number, or if it is above all others and the model wrote it into an earlier call,
    since a tool may repeat it.
    """
    wanted, origins = arguments.get(rule.key), Origins.of(context)
    trusted: list[float] = []
    repeated: list[float] = []
    for text, (_, before) in zip(context.trusted_results, origins.results, strict=True):
        for record in _records(_json_of(text)):
            if record.get(rule.key) != wanted or wanted is None or record.get(rule.field) is None:
                continue
            amount = _amount(record[rule.field])
            if amount is None:
                return None
            known = trusted if not origins.wrote_number(Decimal(str(amount)), before) else repeated
            known.append(amount)
    highest = max((one for one in trusted if one >= 0), default=None)
    return highest if highest is None or max(repeated, default=0.0) <= highest else None


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


def _amount(value: Any) -> float | None:
    """A number, or the number that a text such as "1,250.00 EUR" begins with; None if there is no finite one."""
    amount: float | None = None
    if is_number(value):
        amount = float(value)
    elif isinstance(value, str) and (match := _LEADING_NUMBER.match(value)):
        number = match.group()
        amount = number_of(regex.sub(r"[,.']", "", number) if _THOUSANDS.fullmatch(number) else number)
    return amount if amount is not None and math.isfinite(amount) else None
