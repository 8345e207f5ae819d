"""A hand-written YAML file: its value, and the lines of its fields for error messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from flightloop.errors import ConfigError
from flightloop.nearest import did_you_mean
from observability.bounded_yaml import YamlProblem, yaml_of


@dataclass(frozen=True)
class YamlDocument:
    """Parsed YAML. ``source`` names the file in messages."""

    source: str
    text: str
    value: Any

    @classmethod
    def parse(cls, text: str, source: str) -> YamlDocument:
        """Parses YAML. Raises ConfigError with the line if it is invalid."""
        try:
            return cls(source, text, yaml_of(text))
        except YamlProblem as problem:
            raise ConfigError(f"{source}{problem.place}: not YAML: {problem}") from problem

    def at(self, field: Iterable[str | int]) -> str:
        """``FILE:LINE`` of a field; if it doesn't exist, of the deepest existing part of its path."""
        node, line = self._root, 1
        for step in field:
            found = _below(node, step)
            if found is None:
                break
            line, node = found
        return f"{self.source}:{line}"

    def refused(self, error: ValidationError, model: type[BaseModel], whole: str) -> ConfigError:
        """Turns a validation error of ``model`` into an error that lists its fields. ``whole``: the document's name."""
        found = [(".".join(map(str, item["loc"])) or whole, _message(item, model)) for item in error.errors()]
        told = "; ".join(f"{field}: {message}" for field, message in found)
        return ConfigError(f"{self.at(error.errors()[0]['loc'])}: {told}", param=found[0][0])

    @cached_property
    def _root(self) -> yaml.Node | None:
        found: yaml.Node | None = yaml.compose(self.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return found


def _message(problem: ErrorDetails, model: type[BaseModel]) -> str:
    if problem["type"] != "extra_forbidden":
        return problem["msg"].removeprefix("Value error, ")
    name = str(problem["loc"][-1])
    return "; ".join(filter(None, ("no such field", did_you_mean(name, _fields(model), most=1))))


@cache
def _fields(model: type[BaseModel]) -> frozenset[str]:
    """Names of the model's fields, including nested ones."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for part in parts for name in part.get("properties", {}))


def _below(node: yaml.Node | None, step: str | int) -> tuple[int, yaml.Node] | None:
    """Line and value of an entry of a node."""
    if isinstance(node, yaml.MappingNode):
        entries = ((key.start_mark.line + 1, value) for key, value in node.value if key.value == str(step))
        return next(entries, None)
    if isinstance(node, yaml.SequenceNode) and str(step).isdecimal() and int(step) < len(node.value):
        found = node.value[int(step)]
        return found.start_mark.line + 1, found
    return None
