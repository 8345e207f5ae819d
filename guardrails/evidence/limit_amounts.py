"""Reads what a call adds to the limits of a policy: its amount, and the values of the keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Decimal, InvalidOperation, localcontext
from typing import Any

import regex

from guardrails.evidence.amounts import looked_up
from guardrails.limit_rules import AGENT, ANY_TOOL, LARGEST, OWNER, SESSION, SUBJECT, TENANT, LimitRule
from guardrails.limit_share import LimitShare, from_millionths, millionths
from guardrails.rails.filled import filled
from guardrails.subject_policy import Binding
from guardrails.text.spelling import compatible
from guardrails.types import CheckedCall, GuardContext, NoEvidence

_DECIMAL = re.compile(r"\d{1,20}(?:\.\d{1,20})?", re.ASCII)
_INVISIBLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}\p{Cf}\u2800\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
"""Characters that leave no mark, and controls that are no blanks."""
_DASH = regex.compile(r"[\p{Dash_Punctuation}\u2212\u2043]")
_PLAIN = 1000
"""Numbers with more digits before or after the point are told with an exponent."""


@dataclass(frozen=True)
class Value:
    """A value as it is compared. ``unclear``: why it is unknown; empty if it is known."""

    text: str | None = None
    unclear: str = ""


def share_of(
    place: int, rule: LimitRule, call: CheckedCall, context: GuardContext, owners: Mapping[str, Value]
) -> LimitShare:
    """Share of a call in a limit that applies to its tool.

    Args:
        owners: owners of the objects that arguments name, by argument.
    """
    keys = {name: _key(name, call, context, owners) for name in rule.keys if name != TENANT}
    amount, problem = (Decimal(1), "") if rule.sum is None else _amount(rule, call, context)
    unclear = "; ".join(filter(None, (problem, *(value.unclear for value in keys.values()))))
    return LimitShare(
        place=place,
        tool=ANY_TOOL if ANY_TOOL in rule.tools else call.spec.name,
        tools=(ANY_TOOL,) if ANY_TOOL in rule.tools else rule.tools,
        measure=" ".join(["calls" if rule.sum is None else f"sum {rule.sum}", *map(_unit, rule.unit.items())]),
        per=tuple((name, value.text) for name, value in keys.items()),
        seconds=rule.seconds,
        maximum=rule.most,
        amount=rule.most if unclear else amount,
        unclear=unclear,
    )


async def owner_of(name: str, binding: Binding, call: CheckedCall, context: GuardContext) -> Value:
    """Owner of the object that an argument names, found as the binding to the subject finds it."""
    value = filled(call).get(name)
    if (tool := binding.compared(name)) is None or binding.field is None:
        return key_value(name, value)
    try:
        found: Any = await context.look_up(tool, {name: value})
    except NoEvidence:
        found = None
    owner = found.get(binding.field) if isinstance(found, dict) else None
    if owner is None:
        return Value(unclear=f"the owner of {name} is unknown")
    return key_value(name, owner)


def amount_of(value: Any) -> Decimal | None:
    """A number, or a text of ASCII digits with an optional decimal point, as a decimal, rounded up to millionths.

    None if the value is anything else, negative, not finite or above ``LARGEST``. A float means the shortest decimal
    that is written like it: 0.1 is one tenth.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        text = value.strip()
        number = Decimal(text) if _DECIMAL.fullmatch(text) else None
    elif not 0 <= value <= LARGEST:  # NaN is not
        return None
    else:
        number = Decimal(repr(value))
    if number is None or number > LARGEST:
        return None
    return from_millionths(millionths(number))


def key_value(name: str, value: Any) -> Value:
    """The value of a key. Different spellings of a text or a number are the same value: more calls count together.

    Numbers are compared by what they mean: ``17``, ``"17.0"``, ``"+17"`` and ``"1.7e1"`` are one. Texts are compared
    without case, invisible characters, further blanks, a ``#`` in front, and the kind of a dash.
    """
    if value is None:
        return Value(unclear=f"{name} is not given")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return Value(unclear=f"{name} is not a text or a number")
    if not isinstance(value, str):
        number = Decimal(repr(value) if isinstance(value, float) else value)
        return Value(_digits(number)) if number.is_finite() else Value(unclear=f"{name} is not a finite number")
    seen = compatible(_INVISIBLE.sub("", compatible(value)).casefold())
    text = _DASH.sub("-", " ".join(seen.split()).lstrip("# "))
    if not text:
        return Value(unclear=f"{name} is empty")
    try:
        number = Decimal(text)
    except InvalidOperation:
        return Value(text)
    return Value(_digits(number) if number.is_finite() else text)


def _digits(number: Decimal) -> str:
    """The same text for equal numbers."""
    with localcontext(prec=len(number.as_tuple().digits), Emax=MAX_EMAX, Emin=MIN_EMIN):
        number = number.normalize() if number else Decimal(0)
    return f"{number:f}" if abs(number.adjusted()) < _PLAIN else str(number)


def _key(name: str, call: CheckedCall, context: GuardContext, owners: Mapping[str, Value]) -> Value:
    if name == SUBJECT:
        return Value(context.subject.id if context.subject is not None else None)
    if name == AGENT:
        return Value(context.agent)
    if name.endswith(OWNER):
        return owners[name.removesuffix(OWNER)]
    if name in _OF_THE_STORE:
        return Value()
    return key_value(name, filled(call).get(name))


_OF_THE_STORE = (SESSION, "day")
"""Keys whose values the store knows: the original session of a fork, and the time of the transaction."""


def _amount(rule: LimitRule, call: CheckedCall, context: GuardContext) -> tuple[Decimal, str]:
    """The amount, and why it is unknown if it is."""
    assert rule.sum is not None
    given = filled(call)
    for name, wanted in rule.unit.items():
        if key_value(name, given.get(name)).text != key_value(name, wanted).text:
            return Decimal(0), f"{name} is not {wanted}, so {rule.sum} can't be counted"
    value, read = given.get(rule.sum), rule.read
    amount = amount_of(value)
    if read is not None and (value is None or value in read.when or amount in [Decimal(one) for one in read.when]):
        amount = amount_of(looked_up(read.key, read.field, given, context))
        if amount is None:
            return Decimal(0), f"{rule.sum} is not given, and no result tells it"
    if amount is None:
        return Decimal(0), f"{rule.sum} is not a number from 0 to {LARGEST}"
    return amount, ""


def _unit(unit: tuple[str, Any]) -> str:
    name, value = unit
    return f"{name}={key_value(name, value).text}"
