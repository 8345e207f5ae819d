"""Draws requests filled with values, and the arguments of the calls that fulfil them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model.tuner.compose.family import PLACE, RANGE, Parameter, Tool, parts, places
from model.tuner.compose.values import Source, Value

TRIES = 8
"""Attempts to draw a value that differs from others of its kind."""
SLIP = 0.05
"""Probability of a typo in a request's words; values are never changed."""
SAID = 0.7
"""Probability that an optional part is included. Few wordings have a part for every optional parameter, so most of
these are still omitted."""


@dataclass(frozen=True)
class Drawn:
    """A parameter's value; an object has ``fields`` instead."""

    value: Value
    fields: Mapping[str, Drawn] = field(default_factory=dict)


@dataclass(frozen=True)
class Wish:
    """A user's request for one tool.

    Attributes:
        tool: the tool that fulfils the request.
        text: the user's message.
        arguments: arguments of the call, by the parameters' original names.
        said: wording of each parameter's value.
        implies: whether the text implies arguments without their wordings.
    """

    tool: Tool
    text: str
    arguments: dict[str, Any]
    said: Mapping[str, str]
    implies: bool = False


def wish(tool: Tool, source: Source) -> Wish:
    """Draws a request for a tool, with values."""
    ask = source.random.choice(tool.wordings)
    drawn = _draw_all(tool.parameters, source)
    said = _said(drawn)
    kept = [piece for piece, optional in parts(ask.ask) if not optional or source.random.random() < SAID]
    words = "".join(kept)
    text = _fill(_slipped(words, source) if source.random.random() < SLIP else words, said)
    named = {name for piece in kept for name in places(piece)}
    arguments = _arguments(tool.parameters, drawn, named)
    for name, implied in ask.implied.items():
        _put(arguments, name, implied)
    return Wish(tool, text, arguments, said, bool(ask.implied))


def _slipped(text: str, source: Source) -> str:
    """Swaps two letters of a word outside the placeholders."""
    words = [found.start() for found in re.finditer(r"(?<![{\w.])[a-z]{4,}(?![\w.]*})", text)]
    if not words:
        return text
    place = source.random.choice(words) + source.random.randint(1, 2)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def fill(text: str, made: Wish, result: Mapping[str, str] = {}) -> str:
    """Fills a text's placeholders with the values of a request and of a result."""
    return _fill(text, {**made.said, **result})


def results(tool: Tool, source: Source) -> dict[str, Value]:
    """Draws a tool's results."""
    return {name: _value(spec, source) for name, spec in tool.result.items()}


def _fill(text: str, said: Mapping[str, str]) -> str:
    return PLACE.sub(lambda found: said.get(found[1], found[0]), text)


def _draw_all(parameters: Mapping[str, Parameter], source: Source) -> dict[str, Drawn]:
    used: dict[str, set[str]] = {}
    drawn: dict[str, Drawn] = {}
    for name, parameter in parameters.items():
        kind = str(parameter.value) or name  # two parameters may share a list
        for _ in range(TRIES):
            one = _draw(parameter, source)
            fresh = one.value.said not in used.get(kind, ()) and one.value.argument != parameter.default
            if fresh or one.fields:
                break
        used.setdefault(kind, set()).add(one.value.said)
        drawn[name] = one
    return drawn


def _draw(parameter: Parameter, source: Source) -> Drawn:
    if parameter.type == "object":
        fields = _draw_all(parameter.parameters or {}, source)
        return Drawn(Value(None, ""), fields)
    if parameter.type == "array":
        low, high = map(int, (parameter.many or "1..3").split(".."))
        found: list[Value] = []
        for _ in range(source.random.randint(low, high)):
            one = _item(parameter, source)
            if all(one.said != other.said for other in found):
                found.append(one)
        return Drawn(Value([one.argument for one in found], source.joined([one.said for one in found])))
    made = _value(parameter.value, source)
    return Drawn(Value(_typed(made.argument, parameter.type), made.said))


def _item(parameter: Parameter, source: Source) -> Value:
    if parameter.parameters:
        fields = _draw_all(parameter.parameters, source)
        assert parameter.each
        named = set(places(parameter.each))
        return Value(_arguments(parameter.parameters, fields, named), _fill(parameter.each, _said(fields)))
    made = _value(parameter.value, source)
    return Value(_typed(made.argument, parameter.items), made.said)


def _value(spec: Any, source: Source) -> Value:
    if isinstance(spec, str):
        return source.between(spec) if RANGE.fullmatch(spec) else source.of(spec)
    return source.one_of(spec)


def _typed(argument: Any, kind: str) -> Any:
    if kind == "string":
        return argument if isinstance(argument, str) else str(argument)
    if kind == "number":
        return argument
    return int(argument) if kind == "integer" else argument


def _said(drawn: Mapping[str, Drawn], above: str = "") -> dict[str, str]:
    said: dict[str, str] = {}
    for name, one in drawn.items():
        said[above + name] = one.value.said
        said |= _said(one.fields, f"{above}{name}.")
    return said


def _arguments(parameters: Mapping[str, Parameter], drawn: Mapping[str, Drawn], named: set[str]) -> dict[str, Any]:
    """Arguments of the named parameters; objects have only their named fields."""
    arguments: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if parameter.type == "object":
            below = {one.partition(".")[2] for one in named if one.startswith(name + ".")}
            inner = _arguments(parameter.parameters or {}, drawn[name].fields, below)
            if inner or parameter.required:
                arguments[name] = inner
        elif name in named:
            arguments[name] = drawn[name].value.argument
    return arguments


def _put(arguments: dict[str, Any], name: str, value: Any) -> None:
    head, _, rest = name.partition(".")
    if rest:
        _put(arguments.setdefault(head, {}), rest, value)
    else:
        arguments[head] = value
