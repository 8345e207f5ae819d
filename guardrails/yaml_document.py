"""A YAML file that somebody wrote by hand: its value, and the lines of its fields for messages about mistakes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from flightloop.errors import ConfigError


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
            return cls(source, text, yaml.safe_load(text))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f":{mark.line + 1}" if mark else ""
            raise ConfigError(f"{source}{line}: not YAML: {error.problem or error.context}") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
            raise ConfigError(f"{source}: not YAML: {' '.join(str(error).split())}") from error

    def at(self, field: Iterable[str | int]) -> str:
        """``FILE:LINE`` of a field, or of the deepest part of its path that is there."""
        node: yaml.Node | None = yaml.compose(self.text, Loader=yaml.SafeLoader)
        line = 1
        for step in field:
            found = _below(node, step)
            if found is None:
                break
            line, node = found
        return f"{self.source}:{line}"


def _below(node: yaml.Node | None, step: str | int) -> tuple[int, yaml.Node] | None:
    """The line and the value of one of a node's entries."""
    if isinstance(node, yaml.MappingNode):
        entries = ((key.start_mark.line + 1, value) for key, value in node.value if key.value == str(step))
        return next(entries, None)
    if isinstance(node, yaml.SequenceNode) and str(step).isdecimal() and int(step) < len(node.value):
        found = node.value[int(step)]
        return found.start_mark.line + 1, found
    return None
