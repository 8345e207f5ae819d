"""A YAML file that somebody wrote by hand: its value, and the lines of its fields for messages about mistakes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from flightloop.errors import ConfigError
from observability.bounded_yaml import YamlProblem, yaml_of


@dataclass(frozen=True)
class YamlDocument:
    """``source`` names the file in messages."""

    source: str
    text: str
    value: Any

    @classmethod
    def parse(cls, text: str, source: str) -> YamlDocument:
        """Raises ConfigError: it is not YAML; names the line."""
        try:
            return cls(source, text, yaml_of(text))
        except YamlProblem as problem:
            raise ConfigError(f"{source}{problem.place}: not YAML: {problem}") from problem

    def at(self, field: Iterable[str | int]) -> str:
        """``FILE:LINE`` of a field, or of the deepest part of its path that is there."""
        node, line = self._root, 1
        for step in field:
            found = _below(node, step)
            if found is None:
                break
            line, node = found
        return f"{self.source}:{line}"

    @cached_property
    def _root(self) -> yaml.Node | None:
        found: yaml.Node | None = yaml.compose(self.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return found


def _below(node: yaml.Node | None, step: str | int) -> tuple[int, yaml.Node] | None:
    """The line and the value of one of a node's entries."""
    if isinstance(node, yaml.MappingNode):
        entries = ((key.start_mark.line + 1, value) for key, value in node.value if key.value == str(step))
        return next(entries, None)
    if isinstance(node, yaml.SequenceNode) and str(step).isdecimal() and int(step) < len(node.value):
        found = node.value[int(step)]
        return found.start_mark.line + 1, found
    return None
