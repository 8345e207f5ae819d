"""Values of a call's arguments: which of them identify something or are amounts, by schema and by shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import regex

from flightloop.tool import ToolSpec
from guardrails.text.calendar_dates import date_of
from guardrails.text.quantities import amount

MOST_LEAVES = 500
"""Most values of a call that are traced. A call with more has values that nobody vouches for."""
_ID = frozenset(["id", "ids", "uuid", "number", "no", "nr", "sku", "isbn", "iban", "bic", "account", "phone", "tel"])
_NAMED = _ID | frozenset(
    [
        "email", "emails", "mail", "address", "addresses", "url", "urls", "uri", "link", "host", "domain", "recipient",
        "recipients", "to", "cc", "bcc", "payee", "customer", "user", "owner", "username", "date", "day", "amount",
        "price", "total", "sum", "quantity",
    ]
)  # fmt: skip
"""Last words of names of arguments that identify something or are amounts."""
_FORMATS = frozenset(
    ["email", "idn-email", "uri", "url", "uuid", "date", "date-time", "hostname", "ipv4", "ipv6", "phone"]
)
_WORDS = regex.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_SHAPES = regex.compile(
    r"\S*\d\S*"  # one word with a digit
    r"|[^\s@]+@[^\s@]+\.[^\s@]+"
    r"|[a-z][a-z0-9+.-]*://\S+"
    r"|(?:[\w-]+\.)+[a-z]{2,24}(?:[/:?#]\S*)?"
    r"|[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,8}(?: ?[A-Z0-9]{1,4})?"
    r"|[+(]?\d[\d\s()/.+-]{5,24}\d",
    regex.IGNORECASE,
)
"""Identifiers, e-mail addresses, links, host names, IBANs and phone numbers."""


@dataclass(frozen=True)
class Leaf:
    """A string or number of a call's arguments.

    Attributes:
        argument: name of the argument that has the value.
        path: place of the value, such as ``items[0].sku``.
        identifying: whether it identifies something or is an amount; others are texts that the model may word freely.
        composable: whether arithmetic may explain it: it is a number and no identifier.
        chosen: whether it is one of the values that the schema lists, or the default.
    """

    argument: str
    path: str
    value: str | int | float
    identifying: bool
    composable: bool
    chosen: bool


def leaves(spec: ToolSpec, arguments: dict[str, Any]) -> list[Leaf]:
    """The strings and numbers of a call's arguments, in order; one more than MOST_LEAVES at most."""
    found: list[Leaf] = []
    properties = spec.parameters.get("properties", {})
    for argument, value in arguments.items():
        schema = properties.get(argument)
        for leaf in _below(argument, argument, argument, value, schema, argument in spec.sinks):
            found.append(leaf)
            if len(found) > MOST_LEAVES:
                return found
    return found


def is_identifier(name: str) -> bool:
    """Whether a field or argument of this name holds identifiers, which no arithmetic yields."""
    return _last(name) in _ID


def _below(argument: str, path: str, name: str, value: Any, schema: Any, sink: bool) -> Iterator[Leaf]:
    schema = _actual(schema)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for key, one in value.items():
            yield from _below(argument, f"{path}.{key}", str(key), one, properties.get(key), sink)
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from _below(argument, f"{path}[{at}]", name, one, schema.get("items"), sink)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
        listed = value in schema.get("enum", ()) or any(key in schema and schema[key] == value for key in _CHOSEN)
        number = not isinstance(value, str)
        yield Leaf(
            argument=argument,
            path=path,
            value=value,
            identifying=sink or number or _identifies(name, value, schema),
            composable=not is_identifier(name) and (number or amount(str(value)) is not None),
            chosen=listed,
        )


_CHOSEN = ("const", "default")


def _actual(schema: Any) -> dict[str, Any]:
    """A schema, or the branch of an optional one."""
    if not isinstance(schema, dict):
        return {}
    branches = [one for key in ("anyOf", "oneOf") for one in schema.get(key, ()) if isinstance(one, dict)]
    real = [one for one in branches if one.get("type") != "null"]
    return {**real[0], **{key: schema[key] for key in _CHOSEN if key in schema}} if len(real) == 1 else schema


def _identifies(name: str, value: Any, schema: dict[str, Any]) -> bool:
    if _last(name) in _NAMED or schema.get("format") in _FORMATS:
        return True
    text = str(value).strip()
    return bool(_SHAPES.fullmatch(text)) or amount(text) is not None or date_of(text) is not None


def _last(name: str) -> str:
    words = _WORDS.findall(name)
    return words[-1].casefold() if words else ""
