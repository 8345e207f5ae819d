"""Validates a call's arguments by the types of the tool's function, without calling it, to identify the call."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import math
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, SecretBytes, SecretStr, TypeAdapter
from pydantic_core import ArgsKwargs, PydanticSerializationError, SchemaValidator, to_jsonable_python

from flightloop.tool import Tool, ToolContext
from flightloop.wellformed import LARGEST_INTEGER, LEVELS
from tools.identity import duration_form, identity, moment_form, number_form, set_form, time_form

CONFIG = ConfigDict(arbitrary_types_allowed=True)
"""Configuration for validating the arguments of each call."""


class Unwritable(Exception):
    """The value has no JSON form that identifies it."""


def known_by(tool: Tool, arguments: dict[str, Any], context: ToolContext, most_bytes: int) -> dict[str, Any] | None:
    """Identity of a call: the same for all arguments that the tool's types convert to the same values.

    Keys are the parameters' own names, even if the model used aliases. A value without a JSON form is represented by
    the argument as given. Parts that differ between two conversions, such as an id created for the call, are ignored.
    An identity of more than ``most_bytes`` as JSON is replaced by its hash.

    Returns:
        None: the tool could not be called with these arguments and the rights of this process.
    """
    try:
        first, second = (_values(tool, arguments, context) for _ in range(2))
    except Exception:  # a call would fail here too
        return None
    found = {}
    for name, value in first.items():
        try:
            found[name] = _settled(_written(value, LEVELS), _written(second.get(name), LEVELS))
        except (Unwritable, ValueError):
            # None if the model used an alias: different calls may count as equal, but never equal ones as different.
            found[name] = arguments.get(name)
    form = identity(found, tool.spec.parameters, typed=True)
    text = _text(form)
    return form if len(text) <= most_bytes else {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def _settled(one: Any, other: Any) -> Any:
    """The common parts of two conversions of the same value; None in place of differences."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {name: _settled(value, other[name]) for name, value in one.items()}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [_settled(*pair) for pair in zip(one, other, strict=True)]
    return one if _text(one) == _text(other) else None


def _values(tool: Tool, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any]:
    """The converted arguments. Raises any exception of the types' validators."""
    given = {tool.context_parameter: context} if tool.context_parameter else {}
    _, values = _validator(tool.function)(ArgsKwargs((), {**arguments, **given}))
    return {name: value for name, value in values.items() if name != tool.context_parameter}


@cache
def _validator(function: Callable[..., Any]) -> Callable[[ArgsKwargs], tuple[Any, dict[str, Any]]]:
    """The validation of `serving`, around a function that only returns its arguments."""

    def take(*positional: Any, **values: Any) -> tuple[Any, dict[str, Any]]:
        return positional, values

    adapter: TypeAdapter[Any] = TypeAdapter(cast(Any, function), config=CONFIG)
    schema: Any = adapter.core_schema
    inner = schema["schema"] if schema["type"] == "definitions" else schema
    replaced = {**inner, "function": take}
    replaced.pop("return_schema", None)
    return SchemaValidator({**schema, "schema": replaced} if inner is not schema else replaced).validate_python


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _written(value: Any, left: int) -> Any:
    """JSON that is equal for equal values. Raises Unwritable."""
    if left == 0:
        raise Unwritable
    for kinds, within in _HOLDERS:
        if isinstance(value, kinds):
            return _written(within(value), left - 1)
    for kinds, form in _PLAIN:
        if isinstance(value, kinds):
            return form(value)
    if isinstance(value, set | frozenset):
        return set_form(_written(item, left - 1) for item in value)
    if isinstance(value, list | tuple | deque):
        return [_written(item, left - 1) for item in value]
    if isinstance(value, Mapping):
        return {_key(_written(name, left - 1)): _written(item, left - 1) for name, item in value.items()}
    return _other(value, left)


def _other(value: Any, left: int) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _written(getattr(value, one.name, None), left - 1) for one in dataclasses.fields(value)}
    try:
        return to_jsonable_python(value)  # such as IP addresses, which have one spelling
    except (PydanticSerializationError, RecursionError) as error:
        raise Unwritable from error


def _key(written: Any) -> str:
    return written if isinstance(written, str) else _text(written)


def _whole(number: int) -> int | str:
    return int(number) if abs(number) <= LARGEST_INTEGER else number_form(Decimal(number))


def _broken(number: float) -> float | int | str:
    return number if math.isfinite(number) and not number.is_integer() else number_form(Decimal(repr(number)))


def _bytes(value: bytes) -> str:
    return bytes(value).decode("utf-8", "backslashreplace")


def _fields(model: BaseModel) -> dict[str, Any]:
    return {**model.__dict__, **(model.__pydantic_extra__ or {})}


_HOLDERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Enum, lambda member: member.value),
    ((SecretStr, SecretBytes), lambda secret: secret.get_secret_value()),
    (BaseModel, _fields),
)
"""Types that are represented by a value inside them, and how to get it."""
_PLAIN: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (type(None), lambda nothing: nothing),
    (bool, bool),
    (int, _whole),
    (float, _broken),
    (Decimal, number_form),
    ((str, PurePath), str),
    ((bytes, bytearray), _bytes),
    (datetime.datetime, moment_form),
    (datetime.date, datetime.date.isoformat),
    (datetime.time, time_form),
    (datetime.timedelta, duration_form),
)
"""Types and how to write their values as JSON; subtypes come before their base types."""
