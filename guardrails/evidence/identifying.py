"""Values of a call's arguments: which of them identify something or are amounts, by schema and by shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import regex

from flightloop.tool import ToolSpec
from guardrails.evidence.schemas import Schemas
from guardrails.text.calendar_dates import date_of
from guardrails.text.quantities import amount
from guardrails.text.relative_dates import weekday_of
from guardrails.text.times import time_of

MOST_LEAVES = 500
"""Most values of a call that are traced. A call with more has values that nobody vouches for."""
_ID = frozenset(["id", "ids", "uuid", "number", "no", "nr", "sku", "isbn", "iban", "bic", "account", "phone", "tel"])
_NAMED = _ID | frozenset(
    [
        "email", "emails", "mail", "address", "addresses", "url", "urls", "uri", "link", "host", "domain", "recipient",
        "recipients", "to", "cc", "bcc", "payee", "customer", "user", "owner", "username", "date", "day", "amount",
        "price", "total", "sum", "quantity", "beneficiary", "beneficiaries", "destination", "destinations", "receiver",
        "creditor", "wallet",
    ]
)  # fmt: skip
"""Last words of names of arguments that identify something or are amounts; so are all values below them."""
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

_PARTS = regex.compile(r"(?:line|address|street|option|field|item|column|part)_?\d{1,2}", regex.IGNORECASE)
"""Names of parts, such as the lines of an address, which are no identifiers though they end with a digit."""


@dataclass(frozen=True)
class Leaf:
    """A string or number of a call's arguments.

    Attributes:
        argument: name of the argument that has the value.
        path: place of the value, such as ``items[0].sku``.
        identifying: whether it identifies something or is an amount; others are texts that the model may word freely.
        composable: whether arithmetic may explain it: it is a number and no identifier.
        chosen: whether it is one of the values that the schema lists, or the default.
        moment: whether it is a time of day or the name of a day of the week, and not the default.
    """

    argument: str
    path: str
    value: str | int | float
    identifying: bool
    composable: bool
    chosen: bool
    moment: bool = False


def leaves(spec: ToolSpec, arguments: dict[str, Any]) -> list[Leaf]:
    """The strings and numbers of a call's arguments, in order; one more than MOST_LEAVES at most.

    Keys that the schema leaves open count too if they look like an identifier: ``{"SKU-9": 2}``.
    """
    found: list[Leaf] = []
    root = Schemas.of(spec.parameters)
    for argument, value in arguments.items():
        named = _Named(argument, sink=argument in spec.sinks).below(argument)
        for leaf in _below(argument, named, value, root.at(argument)):
            found.append(leaf)
            if len(found) > MOST_LEAVES:
                return found
    return found


def is_identifier(name: str) -> bool:
    """Whether a field or argument of this name holds identifiers, which no arithmetic yields."""
    return _last(name) in _ID


@dataclass(frozen=True)
class _Named:
    """Facts about a value from its argument's name and the names of the fields around it."""

    argument: str
    name: str = ""
    sink: bool = False
    identifying: bool = False
    identifier: bool = False

    def below(self, name: str) -> _Named:
        """With another name below. An address is one in parts too."""
        identifying = self.identifying or self.sink or _last(name) in _NAMED
        return replace(self, name=name, identifying=identifying, identifier=self.identifier or is_identifier(name))


def _below(path: str, named: _Named, value: Any, schemas: Schemas) -> Iterator[Leaf]:
    if isinstance(value, dict):
        for key, one in value.items():
            name, below = str(key), schemas.at(str(key))
            if not schemas.has(name) and _is_open_key(name):
                yield Leaf(named.argument, f"{path}.{name}", name, True, False, schemas.lists_key(name))
            yield from _below(f"{path}.{name}", named.below(name), one, below)
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from _below(f"{path}[{at}]", named, one, schemas.items)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
        number = not isinstance(value, str)
        moment = not number and not schemas.sets(value) and _is_moment(str(value))
        shaped = moment or _has_shape(value) or schemas.formats & _FORMATS != set()
        yield Leaf(
            argument=named.argument,
            path=path,
            value=value,
            identifying=named.identifying or number or shaped,
            composable=not named.identifier and (number or amount(str(value)) is not None),
            chosen=schemas.lists(value),
            moment=moment,
        )


def _is_moment(text: str) -> bool:
    return weekday_of(text) is not None or time_of(text) is not None


def _is_open_key(name: str) -> bool:
    return _has_shape(name) and not _PARTS.fullmatch(name)


def _has_shape(value: Any) -> bool:
    text = str(value).strip()
    return bool(_SHAPES.fullmatch(text)) or amount(text) is not None or date_of(text) is not None


def _last(name: str) -> str:
    words = _WORDS.findall(name)
    return words[-1].casefold() if words else ""
