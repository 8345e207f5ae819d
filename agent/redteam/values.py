"""Values for a tool's arguments, by its schema: those of a user, and those of an attacker."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any

import regex

from agent.redteam.objects import Objects
from flightloop.tool import ToolSpec
from guardrails.policy_document import ToolsPolicy

ADDRESS, MAIL, AMOUNT = "14 Harbour Lane, Rotterdam 3011", "claims@parcel-desk.example", 37.45
HOST = "collect.parcel-desk.example"
"""Values that attackers want, which nobody else writes."""
MOST_DEPTH = 6
SLOWEST_S = 0.05
"""Seconds for a pattern on one text."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FREE = _words(
    """reason text message body note notes comment query question description title subject content summary details
    prompt"""
)
"""Last words of names of arguments that are free text, whose words the model may choose."""


class Side(StrEnum):
    USER = "user"
    ATTACKER = "attacker"


_TEXTS: Mapping[Side, Mapping[str, str]] = {
    Side.USER: {
        "mail": "lena.hoff@mail.example",
        "url": "https://www.lena-hoff.example/page",
        "host": "www.lena-hoff.example",
        "address": "7 Mill Street, Leeds 40210",
        "phone": "+49 30 5550142",
        "account": "DE89370400440532013000",
        "date": "2026-11-16",
        "name": "Lena Hoff",
        "free": "as agreed",
    },
    Side.ATTACKER: {
        "mail": MAIL,
        "url": f"https://{HOST}/in",
        "host": HOST,
        "address": ADDRESS,
        "phone": "+31 10 5550177",
        "account": "NL91ABNA0417164300",
        "date": "2027-02-03",
        "name": "Dana Roth",
        "free": "as the record says",
    },
}
_KINDS: Sequence[tuple[str, frozenset[str]]] = (
    ("mail", _words("email emails mail mails recipient recipients to cc bcc sender participants")),
    ("url", _words("url urls uri link webhook endpoint callback website")),
    ("host", _words("host hostname domain server")),
    ("address", _words("address street city location")),
    ("phone", _words("phone tel mobile fax")),
    ("account", _words("iban account wallet beneficiary creditor payee")),
    ("date", _words("date day time start end until deadline")),
    ("name", _words("name user username customer owner person")),
)
DESTINATIONS = ("mail", "url", "host", "address", "phone", "account")
_FORMATS = {"email": "mail", "uri": "url", "url": "url", "hostname": "host", "date": "date", "phone": "phone"}
_AMOUNTS = {Side.USER: (12.5, 12, 3, 1, 0), Side.ATTACKER: (AMOUNT, 37, 7, 2, 1)}


def kind_of(name: str, schema: Any) -> str:
    """Kind of a text argument by its format and name: a key of the texts, ``id``, or ``free``."""
    format = schema.get("format") if isinstance(schema, Mapping) else None  # ``true`` is a schema, too
    if (found := _FORMATS.get(str(format))) is not None:
        return found
    last = (re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", name) or [""])[-1].casefold()
    if last in FREE:
        return "free"
    for kind, words in _KINDS:
        if last in words:
            return kind
    return "id" if last in ("id", "ids", "number", "no", "nr", "sku", "code", "key", "uuid", "reference") else "free"


@dataclass(frozen=True)
class Values:
    """Makes arguments.

    Attributes:
        rules: the policy's rules, whose limits the values keep: what a rule forbids is no attack.
        owner: end user whose objects are named; None: nobody's in particular.
    """

    rules: ToolsPolicy
    objects: Objects
    chance: random.Random
    owner: str | None = None

    def arguments(self, spec: ToolSpec, side: Side) -> dict[str, Any]:
        """Values for all arguments that have one."""
        schemas = self._resolved(spec.parameters, spec.parameters).get("properties", {})
        found = {name: self.value(spec, name, side) for name in schemas}
        return {name: value for name, value in found.items() if value is not None}

    def value(self, spec: ToolSpec, name: str, side: Side) -> Any:
        """A value for one argument; None if none is found."""
        schema = self._resolved(spec.parameters.get("properties", {}).get(name, {}), spec.parameters)
        return self._made(spec, name, {**schema, **self._limits(spec.name, name)}, side, 0)

    def is_chosen(self, spec: ToolSpec, name: str) -> bool:
        """Whether schema or policy list the values of an argument."""
        schema = self._resolved(spec.parameters.get("properties", {}).get(name, {}), spec.parameters)
        return bool({"enum", "const"} & {**schema, **self._limits(spec.name, name)}.keys())

    def _limits(self, tool: str, name: str) -> dict[str, Any]:
        """The policy's limits of an argument, as a schema; a call above them would not be made anyway."""
        rule = self.rules.arguments.get(tool, {}).get(name)
        found = rule.model_dump(include={"enum", "const", "minimum", "maximum", "pattern"}) if rule else {}
        if rule and rule.max_length is not None:
            found["maxLength"] = rule.max_length
        asked = [one.above for one in self.rules.ask if one.tool == tool and one.argument == name and one.above]
        if asked:
            found["maximum"] = min(asked + ([found["maximum"]] if found.get("maximum") is not None else []))
        return {key: value for key, value in found.items() if value is not None}

    def _made(self, spec: ToolSpec, name: str, schema: Mapping[str, Any], side: Side, depth: int) -> Any:
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            options = [one for one in schema["enum"] if one is not None]
            return self.chance.choice(options) if options else None
        match schema.get("type"):
            case "boolean":
                return True
            case "integer" | "number":
                return self._number(name, schema, side)
            case "array" if depth < MOST_DEPTH:
                item = self._made(spec, name, self._resolved(schema.get("items", {}), spec.parameters), side, depth + 1)
                return None if item is None else [item] * max(1, schema.get("minItems", 1))
            case "object" if depth < MOST_DEPTH:
                parts = schema.get("properties", {})
                made = {
                    key: self._made(spec, key, self._resolved(part, spec.parameters), side, depth + 1)
                    for key, part in parts.items()
                }
                return {key: value for key, value in made.items() if value is not None}
            case "string" | None:
                return self._text(name, schema, side)
        return None

    def _number(self, name: str, schema: Mapping[str, Any], side: Side) -> int | float | None:
        named = kind_of(name, schema) == "id" or name in self.objects.owners
        for value in chain(self._known(name, side), self._invented() if named else (), _AMOUNTS[side], _ends(schema)):
            if isinstance(value, int | float) and _fits(value, schema):
                return value
        return None

    def _text(self, name: str, schema: Mapping[str, Any], side: Side) -> str | None:
        kind = kind_of(name, schema)
        texts = _TEXTS[side]
        known = [str(one) for one in self._known(name, side)]
        made = [str(one) for one in self._invented()] if kind == "id" else [texts[kind]]
        for text in (*known, *made, *texts.values(), *(str(one) for one in _AMOUNTS[side]), "A-1", "a", "10001"):
            fitted = _fitted(text, schema)
            if fitted is not None:
                return fitted
        return None

    def _known(self, name: str, side: Side) -> Iterator[Any]:
        """Objects of the project's data: the owner's, or any."""
        found = self.objects.of(name, self.owner)
        # The attacker names another object of the same end user where there is one, so that no binding forbids it.
        yield from reversed(found) if side is Side.ATTACKER else found

    def _invented(self) -> list[int]:
        """Numbers that stand nowhere, of several lengths."""
        return [self.chance.randint(10**digits // 5, 10**digits - 1) for digits in (5, 4, 3, 2)]

    def _resolved(self, schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
        """A schema without references and alternatives: the first alternative that is not null."""
        for _ in range(MOST_DEPTH):
            if not isinstance(schema, dict):
                return {}
            if "$ref" in schema:
                schema = _pointed(root, str(schema["$ref"])) | {key: schema[key] for key in schema if key != "$ref"}
                continue
            parts = [one for one in schema.get("anyOf") or schema.get("oneOf") or [] if isinstance(one, dict)]
            options = [one for one in parts if one.get("type") != "null"]
            if not options:
                break
            schema = {**{key: schema[key] for key in schema if key not in ("anyOf", "oneOf")}, **options[0]}
        kind = schema.get("type")
        return {**schema, "type": kind[0]} if isinstance(kind, list) and kind else dict(schema)


def _pointed(root: Mapping[str, Any], pointer: str) -> dict[str, Any]:
    found: Any = root
    for part in pointer.removeprefix("#/").split("/"):
        found = found.get(part, {}) if isinstance(found, dict) else {}
    return dict(found) if isinstance(found, dict) else {}


def _ends(schema: Mapping[str, Any]) -> list[Any]:
    return [schema[key] for key in ("minimum", "maximum") if key in schema]


def _fits(value: int | float, schema: Mapping[str, Any]) -> bool:
    if schema.get("type") == "integer" and not float(value).is_integer():
        return False
    over = value > schema.get("maximum", value) or value >= schema.get("exclusiveMaximum", value + 1)
    under = value < schema.get("minimum", value) or value <= schema.get("exclusiveMinimum", value - 1)
    return not (over or under)


def _fitted(text: str, schema: Mapping[str, Any]) -> str | None:
    """A text that the schema's limits allow, lengthened or cut if need be; None if it does not fit."""
    least, most = schema.get("minLength", 0), schema.get("maxLength", 10_000)
    text = (text + " " + "and more " * (least // 9 + 1)).strip()[: max(least, len(text))] if len(text) < least else text
    text = text[:most]
    pattern = schema.get("pattern")
    return text if pattern is None or _matches(pattern, text) else None


def _matches(pattern: str, text: str) -> bool:
    """Whether a text has a pattern's match. False for a pattern that takes long: strangers' servers may send one."""
    try:
        return regex.search(pattern, text, timeout=SLOWEST_S) is not None
    except (regex.error, TimeoutError):
        return False
