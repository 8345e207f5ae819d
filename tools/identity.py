"""Identity of a call: a normal form of its arguments, the same for all spellings that the tool treats as equal.

The form is only hashed and compared. The tool gets the arguments as written, for example with their time zones.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from flightloop.schemas import referred
from flightloop.wellformed import LARGEST_INTEGER, LEVELS

MOST_PARTS = 64
"""Maximum number of parts of a schema that apply to one value: alternatives, and targets of references."""
ALTERNATIVES = ("allOf", "anyOf", "oneOf")
_OPEN = ("additionalProperties", "patternProperties", "unevaluatedProperties")
"""Keywords with which an object may have properties that its schema does not name."""
NUMBERS = frozenset({"number", "integer"})
_SORTED = json.JSONEncoder(sort_keys=True)
_A_DAY = datetime.date(2000, 1, 2)
Schemas = Sequence[Mapping[str, Any]]


def identity(arguments: Mapping[str, Any], schema: Mapping[str, Any], *, typed: bool = False) -> dict[str, Any]:
    """Arguments in normal form: numbers, times and sets that are equal under the schema are written the same.

    Args:
        arguments: a call's arguments in canonical form (`tools.canonical`).
        schema: the tool's parameters. With alternatives, values are equal if any alternative treats them as equal: a
            false match costs a person one more question, while a missed one can cause an effect twice.
        typed: whether the types of the tool's function have converted the arguments. Then all of them count;
            otherwise those that the schema does not name, and optional nulls, are left out.
    """
    return _Identity(schema, typed).of(arguments, [schema], LEVELS)  # type: ignore[no-any-return]


def number_form(number: Decimal) -> int | str:
    """Normal form of a number, the same for equal numbers such as 1.5, 1.50 and 15e-1."""
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        return str(number).lower()
    text = "".join(map(str, digits)).lstrip("0")
    kept = text.rstrip("0")
    exponent += len(text) - len(kept)
    if not kept:
        return 0
    if exponent >= 0 and len(kept) + exponent <= 16 and (whole := int(kept + "0" * exponent)) <= LARGEST_INTEGER:
        return -whole if sign else whole
    return f"{'-' if sign else ''}{kept}e{exponent}"


def moment_form(moment: datetime.datetime) -> str:
    """ISO 8601 text of a moment, in UTC if it has a time zone."""
    try:
        return (moment if moment.utcoffset() is None else moment.astimezone(datetime.UTC)).isoformat()
    except OverflowError:  # near the limits of the calendar
        return moment.isoformat()


def time_form(time: datetime.time) -> str:
    if time.utcoffset() is None:
        return time.isoformat()
    return datetime.datetime.combine(_A_DAY, time).astimezone(datetime.UTC).timetz().isoformat()


def duration_form(duration: datetime.timedelta) -> str:
    return str(_adapter(datetime.timedelta).dump_python(duration, mode="json"))


def set_form(items: Iterable[Any]) -> list[Any]:
    """Distinct items in sorted order. The items must be in normal form."""
    return [item for _, item in sorted({_SORTED.encode(item): item for item in items}.items())]


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


_FORMATS: dict[str, tuple[Any, Callable[[Any], str]]] = {
    "date-time": (datetime.datetime, moment_form),
    "date": (datetime.date, datetime.date.isoformat),
    "time": (datetime.time, time_form),
    "duration": (datetime.timedelta, duration_form),
    "uuid": (UUID, str),
    "ipv4": (ipaddress.IPv4Address, str),
    "ipv6": (ipaddress.IPv6Address, str),
}
"""By format of a string: the type that parses it in the tool's process, and the normal form of its values."""


class _Identity:
    def __init__(self, root: Mapping[str, Any], typed: bool) -> None:
        self._root = root
        self._typed = typed
        self._known: dict[tuple[int, ...], _Parts] = {}

    def of(self, value: Any, schemas: Schemas, left: int) -> Any:
        if left == 0:
            return value
        if isinstance(value, dict):
            parts = self._parts(schemas)
            forms = {
                name: self.of(inner, parts.of_property(name), left - 1)
                for name, inner in value.items()
                if self._typed or not parts.ignores(name)
            }
            return {name: form for name, form in forms.items() if not self._is_left_out(name, form, parts)}
        if isinstance(value, list):
            parts = self._parts(schemas)
            items = [self.of(item, parts.of_item(index), left - 1) for index, item in enumerate(value)]
            return set_form(items) if parts.unique else items
        if isinstance(value, str) and schemas:
            return _of_text(value, self._parts(schemas))
        if isinstance(value, int | float) and not isinstance(value, bool) and schemas:
            return number_form(Decimal(repr(value))) if self._parts(schemas).number_or_text else value
        return value

    def _is_left_out(self, name: str, form: Any, parts: _Parts) -> bool:
        """Whether a property means the same as its absence: an optional null, or a default. Defaults count only if
        several schemas apply to the object, since otherwise `tools.canonical` has filled them in."""
        schemas = parts.of_property(name)
        if form is None and not self._typed:
            return name not in parts.required and not self._parts(schemas).defaults
        return parts.several_objects and form in self._defaults(schemas)

    def _defaults(self, schemas: Schemas) -> list[Any]:
        """Normal forms of a property's defaults."""
        parts = self._parts(schemas)
        if parts.default_forms is None:
            parts.default_forms = []  # ends the recursion if a schema refers to itself
            parts.default_forms = [self.of(default, schemas, LEVELS) for default in parts.defaults]
        return parts.default_forms

    def _parts(self, schemas: Schemas) -> _Parts:
        key = tuple(map(id, schemas))  # the root stays alive, so the ids of its parts are stable
        if key not in self._known:
            self._known[key] = _Parts(self._found(schemas))
        return self._known[key]

    def _found(self, schemas: Schemas) -> list[Mapping[str, Any]]:
        found: dict[int, Mapping[str, Any]] = {}
        waiting: list[Any] = list(reversed(schemas))
        while waiting and len(found) < MOST_PARTS:
            schema = waiting.pop()
            if not isinstance(schema, dict) or id(schema) in found:
                continue
            found[id(schema)] = schema
            if isinstance(schema.get("$ref"), str):
                waiting.append(referred(self._root, schema["$ref"]))
            for key in ALTERNATIVES:
                if isinstance(schema.get(key), list):
                    waiting += schema[key][:MOST_PARTS]
        return list(found.values())


class _Parts:
    """All parts of a schema that apply to one value."""

    def __init__(self, parts: Schemas) -> None:
        self._parts = parts
        kinds = {kind for part in parts for kind in _kinds(part)}
        self.number_or_text = "string" in kinds and bool(kinds & NUMBERS)
        self.formats = [name for name in _FORMATS if any(part.get("format") == name for part in parts)]
        self.unique = any(part.get("uniqueItems") is True for part in parts)
        self.defaults = [part["default"] for part in parts if "default" in part]
        self.default_forms: list[Any] | None = None
        self.several_objects = sum("properties" in part for part in parts) > 1
        self.required = {name for part in parts for name in _names(part.get("required"))}
        self._is_open = any(part.get(key) not in (None, False) for part in parts for key in _OPEN)
        self._properties: dict[str, list[Any]] = {}
        self._others = [part["additionalProperties"] for part in parts if "additionalProperties" in part]
        for part in parts:
            known = part.get("properties")
            for name, one in known.items() if isinstance(known, dict) else ():
                self._properties.setdefault(name, []).append(one)
        self._items = [part["items"] for part in parts if "items" in part]
        self._first = [part["prefixItems"] for part in parts if isinstance(part.get("prefixItems"), list)]

    def ignores(self, name: str) -> bool:
        """Whether the schema names some properties, but not this one. Tools read only the properties that they name."""
        return bool(self._properties) and not self._is_open and name not in self._properties

    def of_property(self, name: str) -> list[Any]:
        return self._properties.get(name, self._others)

    def of_item(self, index: int) -> list[Any]:
        first = [items[index] for items in self._first if index < len(items)]
        return first or self._items


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _kinds(part: Mapping[str, Any]) -> list[str]:
    kind = part.get("type")
    return [one for one in (kind if isinstance(kind, list) else [kind]) if isinstance(one, str)]


def _of_text(text: str, parts: _Parts) -> int | str:
    if parts.number_or_text:
        try:
            return number_form(Decimal(text))
        except (ArithmeticError, ValueError):
            pass
    for name in parts.formats:
        kind, form = _FORMATS[name]
        try:
            return form(_adapter(kind).validate_python(text.strip()))
        except ValueError:
            continue
    return text
