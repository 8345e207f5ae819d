"""Tool families: tools, and wordings of requests for them. One YAML file per domain in ``model/tuner/families``.

``python -m model.tuner.compose.family FILE...`` checks files.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flightloop.errors import ConfigError
from model.tuner.compose.values import known

FOLDER = Path(__file__).parents[1] / "families"
PLACE = re.compile(r"\{([\w.]+)\}")
RANGE = re.compile(r"-?\d+(\.\d+)?\.\.-?\d+(\.\d+)?")

Type = Literal["string", "integer", "number", "boolean", "array", "object"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Parameter(_Strict):
    """A parameter of a tool."""

    type: Type
    about: str = ""  # description
    value: str | list[Any] | dict[Any, Any] | None = None
    """How values are made: a kind, a range, a list, or a mapping from arguments to wordings."""
    also: list[str] = Field(default_factory=list)
    """Other names that a definition may use."""
    optional: bool = False
    default: Any = None  # value if it is left out
    enum: bool = False
    """The definition lists the values."""
    many: str | None = None
    """Number of values in an array."""
    items: Type = "string"  # type of an array's elements
    parameters: dict[str, Parameter] | None = None
    """Fields of an object."""
    each: str | None = None
    """Wording of one element in an array of objects."""

    @property
    def required(self) -> bool:
        return not self.optional and self.default is None


class Ask(_Strict):
    """Wording of a request, and arguments that it implies without naming them."""

    ask: str
    implied: dict[str, Any] = Field(default_factory=dict, alias="with")


class Incomplete(_Strict):
    """Wording of a request without some required parameters, and the assistant's question for them."""

    ask: str
    missing: list[str] = Field(min_length=1)
    reply: str


class Failure(_Strict):
    """Error message of a tool, and the answer to the user."""

    says: str
    answer: str


class Tool(_Strict):
    name: str = Field(pattern=r"^[A-Za-z][\w.]*$")
    about: str = ""  # description
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    asks: list[str | Ask] = Field(min_length=1)  # wordings of requests for it
    incomplete: list[Incomplete] = Field(default_factory=list)  # requests with missing values
    result: dict[str, Any] = Field(default_factory=dict)  # fields of its result, and how their values are made
    answers: list[str] = Field(default_factory=list)  # wordings of the assistant's answer
    error: Failure | None = None

    @property
    def wordings(self) -> list[Ask]:
        return [Ask(ask=ask) if isinstance(ask, str) else ask for ask in self.asks]


class Domain(_Strict):
    """Tools that belong together, and requests that none of them can fulfil."""

    domain: str
    language: Literal["en", "zh"] = "en"  # what its users speak
    tools: list[Tool] = Field(min_length=2)
    unrelated: list[str] = Field(default_factory=list)


def read(path: Path) -> Domain:
    """Reads and checks a file.

    Raises:
        ConfigError: the file is invalid; the message lists the problems.
    """
    try:
        domain = Domain.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {error}", param="families") from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise ConfigError(f"{path}: {'; '.join(lines[:8])}", param="families") from error
    problems = [f"{tool.name}: {problem}" for tool in domain.tools for problem in _problems(tool)]
    if problems:
        raise ConfigError("\n".join([f"{path}:", *problems]), param="families")
    return domain


@cache
def read_all(folder: Path = FOLDER) -> tuple[Domain, ...]:
    """All domains in a folder, by name.

    Raises:
        ConfigError: a file is invalid, or there is none.
    """
    domains = tuple(read(path) for path in sorted(folder.glob("*.yaml")))
    if not domains:
        raise ConfigError(f"{folder} contains no tool families (*.yaml)", param="families")
    return domains


def choose(domains: Sequence[Domain], names: Collection[str], *, only: bool) -> tuple[Domain, ...]:
    """The domains with these names (``only``), or all others. Raises ConfigError for unknown names or no result."""
    unknown = sorted(set(names) - {domain.domain for domain in domains})
    chosen = tuple(domain for domain in domains if (domain.domain in names) == only)
    if unknown or not chosen:
        raise ConfigError(
            f"there is no domain {unknown[0]}" if unknown else "no domain is left; check --held-out", param="held_out"
        )
    return chosen


def places(text: str) -> list[str]:
    """Names of the placeholders in a text."""
    return PLACE.findall(text)


def parts(text: str) -> list[tuple[str, bool]]:
    """Splits a text into pieces, each with a flag that is true for optional ones (in brackets)."""
    pieces = re.split(r"\[([^\[\]]*)\]", text)
    return [(piece, place % 2 == 1) for place, piece in enumerate(pieces)]


def _problems(tool: Tool) -> Iterator[str]:
    for name, parameter in tool.parameters.items():
        yield from _parameter_problems(name, parameter)
    for ask in tool.wordings:
        yield from _ask_problems(ask, tool.parameters)
    for one in tool.incomplete:
        yield from _incomplete_problems(one, tool.parameters)
    yield from _answer_problems(tool)


def _incomplete_problems(one: Incomplete, parameters: Mapping[str, Parameter]) -> Iterator[str]:
    unknown = [name for name in places(one.ask) if _find(parameters, name) is None]
    unknown += [name for name in one.missing if not _is_required(parameters, name)]
    if unknown:
        yield f"incomplete {one.ask!r}: {unknown} are not parameters, or listed as missing but not required"
    if said := set(one.missing) & set(places(one.ask)):
        yield f"incomplete {one.ask!r}: contains {said}, which is listed as missing"


def _answer_problems(tool: Tool) -> Iterator[str]:
    for name, value in tool.result.items():
        if not _makes(value):
            yield f"result {name}: {value!r} is not a kind of value"
    answers = [*tool.answers, *([tool.error.says, tool.error.answer] if tool.error else [])]
    for text in answers:
        for name in places(text):
            if name not in tool.result and _find(tool.parameters, name) is None:
                yield f"answer {text!r}: {{{name}}} is neither a parameter nor a result"


def _parameter_problems(name: str, parameter: Parameter) -> Iterator[str]:
    if parameter.type == "object" or (parameter.type == "array" and parameter.parameters):
        for below, inner in (parameter.parameters or {}).items():
            yield from _parameter_problems(f"{name}.{below}", inner)
        if not parameter.parameters:
            yield f'{name}: an object requires "parameters"'
        if parameter.type == "array" and not parameter.each:
            yield f'{name}: an array of objects requires "each"'
        return
    if parameter.type == "boolean" and not isinstance(parameter.value, dict):
        yield f'{name}: the "value" of a boolean must map true and false to wordings'
    elif not _makes(parameter.value):
        yield f"{name}: {parameter.value!r} is not a kind of value"
    yield from _key_problems(name, parameter)
    if parameter.type in ("integer", "number") and not _numbers(parameter.value):
        yield f"{name}: {parameter.value!r} does not make a value of type {parameter.type}"
    if parameter.enum and not isinstance(parameter.value, list | dict):
        yield f'{name}: "enum" requires a list or a mapping in "value"'


def _key_problems(name: str, parameter: Parameter) -> Iterator[str]:
    element = parameter.items if parameter.type == "array" else parameter.type
    if element == "string" and isinstance(parameter.value, dict):
        for argument in parameter.value:
            if not isinstance(argument, str):
                yield f"{name}: YAML reads {argument!r} as another type than string; quote it"


def _ask_problems(ask: Ask, parameters: Mapping[str, Parameter]) -> Iterator[str]:
    text = ask.ask
    for piece, optional in parts(text):
        if "[" in piece or "]" in piece:
            yield f"ask {text!r}: unbalanced brackets"
        if optional and not places(piece):
            yield f"ask {text!r}: the optional part {piece!r} has no placeholder"
        for name in places(piece):
            if problem := _place_problem(parameters, name, optional):
                yield f"ask {text!r}: {problem}"
    if "{" in PLACE.sub("", text):
        yield f"ask {text!r}: a brace outside of a placeholder"
    yield from _unsaid_problems(ask, parameters)


def _unsaid_problems(ask: Ask, parameters: Mapping[str, Parameter]) -> Iterator[str]:
    text = ask.ask
    said = {name for piece, optional in parts(text) if not optional for name in places(piece)}
    for name in _required(parameters):
        if name not in said and name not in ask.implied and name.split(".")[0] not in ask.implied:
            yield f"ask {text!r}: lacks the required {{{name}}}"
    for piece, _ in parts(text):
        for name in places(piece):
            for lacking in _beside(parameters, name):
                if lacking not in said and lacking not in places(piece) and lacking not in ask.implied:
                    yield f"ask {text!r}: names {{{name}}} without {{{lacking}}}, which its object requires"
    for name in ask.implied:
        if _find(parameters, name) is None:
            yield f'ask {text!r}: "with" contains {name}, which is not a parameter'


def _place_problem(parameters: Mapping[str, Parameter], name: str, optional: bool) -> str | None:
    found = _find(parameters, name)
    if found is None:
        return f"{{{name}}} is not a parameter"
    if found.type == "object":
        return f"{{{name}}} is an object; name its fields"
    if optional and _is_required(parameters, name):
        return f"the required {{{name}}} is in an optional part"
    return None


def _required(parameters: Mapping[str, Parameter], above: str = "") -> Iterator[str]:
    for name, parameter in parameters.items():
        if parameter.required:
            if parameter.type == "object":
                yield from _required(parameter.parameters or {}, f"{above}{name}.")
            else:
                yield above + name


def _beside(parameters: Mapping[str, Parameter], name: str, above: str = "") -> Iterator[str]:
    """Fields that must be named together with this one, since its enclosing objects require them."""
    head, _, rest = name.partition(".")
    inside = parameters[head].parameters if rest and head in parameters else None
    if inside:
        yield from _required(inside, f"{above}{head}.")
        yield from _beside(inside, rest, f"{above}{head}.")


def _is_required(parameters: Mapping[str, Parameter], name: str) -> bool:
    return any(one == name or one.startswith(name + ".") for one in _required(parameters))


def _find(parameters: Mapping[str, Parameter], name: str) -> Parameter | None:
    head, _, rest = name.partition(".")
    found = parameters.get(head)
    if found is None or not rest:
        return found
    return _find(found.parameters or {}, rest) if found.type == "object" else None


def _makes(value: Any) -> bool:
    if isinstance(value, str):
        return known(value) or RANGE.fullmatch(value) is not None
    return isinstance(value, list | dict) and len(value) > 0


_NUMBER_KINDS = {"small", "percent", "money", "year", "number_id", "latitude", "longitude"}


def _numbers(value: Any) -> bool:
    if isinstance(value, str):
        return value in _NUMBER_KINDS or RANGE.fullmatch(value) is not None
    return all(isinstance(each, int | float) for each in value or ())


def main(paths: list[str]) -> int:
    """Checks files and prints their problems."""
    wrong = 0
    for path in paths:
        try:
            domain = read(Path(path))
        except ConfigError as error:
            print(error)
            wrong += 1
        else:
            print(f"{path}: {len(domain.tools)} tools, {sum(len(tool.asks) for tool in domain.tools)} asks")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
