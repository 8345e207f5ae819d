"""Varies a tool's definition as different developers would write it: naming style, with or without descriptions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from model.tuner.compose.family import Domain, Parameter, Tool
from model.tuner.compose.values import Source

Case = Literal["as written", "camel", "pascal", "dotted", "prefixed", "masked"]
_CASES: tuple[Case, ...] = ("as written", "camel", "pascal", "dotted", "prefixed", "masked")


@dataclass(frozen=True)
class Style:
    """Style of a conversation's tools: case of names, and probabilities of a description and of another name."""

    case: Case
    described: float
    renamed: float


@dataclass(frozen=True)
class Names:
    """Names of a tool's parameters, and of the fields of its objects, in a definition."""

    own: Mapping[str, str]
    below: Mapping[str, Names] = field(default_factory=dict)

    def of(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Renames arguments to the names in the definition."""
        return {self.own[name]: self._value(name, value) for name, value in arguments.items()}

    def _value(self, name: str, value: Any) -> Any:
        inner = self.below.get(name)
        if inner is None:
            return value
        return [inner.of(each) for each in value] if isinstance(value, list) else inner.of(value)


@dataclass(frozen=True)
class Dressed:
    """A tool, and its definition in a request."""

    tool: Tool
    domain: Domain
    definition: dict[str, Any]
    names: Names

    @property
    def name(self) -> str:
        return str(self.definition["function"]["name"])


def style(source: Source) -> Style:
    """Draws a style. Most tools keep their original names and descriptions.

    In some conversations, names are masked (Lin et al., 2024): only the descriptions tell what a tool does.
    """
    case = source.random.choices(_CASES, weights=[46, 15, 6, 17, 9, 7])[0]
    if case == "masked":
        return Style(case, 1.0, 0.0)
    return Style(case, source.random.choice([1.0, 1.0, 1.0, 0.6, 0.0]), source.random.choice([0.0, 0.3, 0.8]))


def dress(tool: Tool, domain: Domain, chosen: Style, source: Source) -> Dressed:
    """Writes a tool's definition in a style. In 30 % of definitions, the order of parameters is random."""
    properties, required, names = _members(tool.parameters, chosen, source)
    schema = {"type": "object", "properties": properties, "required": required}
    masked = chosen.case == "masked" and tool.about
    name = _masked("tool", source) if masked else _named(tool.name, domain.domain, chosen.case)
    function = {"name": name, "description": tool.about, "parameters": schema}
    return Dressed(tool, domain, {"type": "function", "function": function}, names)


def _members(
    parameters: Mapping[str, Parameter], chosen: Style, source: Source
) -> tuple[dict[str, Any], list[str], Names]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    own: dict[str, str] = {}
    below: dict[str, Names] = {}
    order = list(parameters.items())
    if source.random.random() < 0.3:
        source.random.shuffle(order)
    for name, parameter in order:
        shown = name
        if parameter.also and source.random.random() < chosen.renamed:
            shown = source.random.choice(parameter.also)
        if chosen.case in ("camel", "pascal"):
            shown = _camel(shown)
        if chosen.case == "masked" and parameter.about:
            shown = _masked("arg", source)
        if shown in properties:  # two parameters may have been given the same name
            shown = name
        own[name] = shown
        properties[shown], inner = _schema(parameter, chosen, source)
        if inner:
            below[name] = inner
        if parameter.required:
            required.append(shown)
    return properties, required, Names(own, below)


def _has_form(parameter: Parameter) -> bool:
    """Whether arguments are written in another way than they are said, which only the description tells."""
    return isinstance(parameter.value, dict) or parameter.value in ("date_us", "date_long", "time_12")


def _schema(parameter: Parameter, chosen: Style, source: Source) -> tuple[dict[str, Any], Names | None]:
    schema: dict[str, Any] = {"type": parameter.type}
    if parameter.about and (_has_form(parameter) or source.random.random() < chosen.described):
        schema["description"] = parameter.about
    inner = None
    if parameter.parameters:
        properties, required, inner = _members(parameter.parameters, chosen, source)
        nested = {"type": "object", "properties": properties, "required": required}
        schema |= {"items": nested} if parameter.type == "array" else nested
    elif parameter.type == "array":
        schema["items"] = {"type": parameter.items}
    if parameter.enum:
        values = list(parameter.value or ())
        if parameter.default is not None and parameter.default not in values:
            values.append(parameter.default)
        (schema["items"] if parameter.type == "array" else schema)["enum"] = values
    if parameter.default is not None:
        schema["default"] = parameter.default
    return schema, inner


def _masked(kind: str, source: Source) -> str:
    return f"{kind}_{source.random.randrange(16**3):03x}"


def _named(name: str, domain: str, case: Case) -> str:
    if case == "camel":
        return _camel(name)
    if case == "pascal":
        return _camel(name)[:1].upper() + _camel(name)[1:]
    area = domain.removeprefix("zh_")
    if case == "dotted" and "." not in name:
        return f"{area}.{name}"
    if case == "prefixed" and "." not in name:
        return f"{area}_{name}"
    return name


def _camel(name: str) -> str:
    return re.sub(r"_+(\w)", lambda found: found[1].upper(), name)
