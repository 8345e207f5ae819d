"""Reads untrusted YAML within limits. Placed here because every package that needs it may import this one."""

from __future__ import annotations

from pathlib import Path
from re import compile as compiled
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from flightloop import plain

DOCUMENT_BYTES = 256 * 1024
LEVELS = 64
_MERGE = "tag:yaml.org,2002:merge"
_MISREAD = compiled(r"[-+]?0[0-7_]+|.*:.*")
"""Numbers that YAML reads in base 8 or 60: 0100 is 64, and 1:40 is 100."""


class YamlProblem(ValueError):
    """The text is not YAML, or uses features that are rejected here. ``line``: line of the problem, if known."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line

    @property
    def place(self) -> str:
        """``:LINE``, to append to a file's name."""
        return f":{self.line}" if self.line else ""


def read_yaml(path: Path) -> Any:
    """The value of a YAML file. Raises OSError, the errors of ``plain.read``, UnicodeDecodeError and YamlProblem."""
    return yaml_of(plain.read_text(path, DOCUMENT_BYTES))


def yaml_of(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        YamlProblem: the text isn't YAML, has more than ``LEVELS`` levels or an invalid value; it has aliases, with
            which a small file can expand to a huge one; or it has a feature that is easily misread: a duplicate key, a
            merge of mappings, a number in base 8 or 60.
    """
    try:
        return _read(text, _Fast)
    except (yaml.YAMLError, ValueError):
        return _read_slowly(text)


def _read_slowly(text: str) -> Any:
    """Uses the Python loader, whose messages are better. Raises YamlProblem."""
    try:
        return _read(text, _Slow)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlProblem(str(error.problem or error.context), mark.line + 1 if mark else None) from error
    except YamlProblem:
        raise
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise YamlProblem(" ".join(str(error).split())) from error


def _read(text: str, loader: Any) -> Any:
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        line = event.start_mark.line + 1  # type: ignore[union-attr]  # every event of a text has one
        if isinstance(event, yaml.AliasEvent):
            raise YamlProblem(f"aliases (*{event.anchor}) are not allowed: repeat the text", line)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > LEVELS:
            raise YamlProblem(f"more than {LEVELS} levels", line)
    return yaml.load(text, Loader=loader)


class _Plain(SafeConstructor):
    """Rejects the keys and numbers that YAML reads in surprising ways."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                raise YamlProblem("merges (<<) are not allowed: write the keys where they belong", line)
            name = self.construct_object(key, deep=True)
            if not hasattr(name, "__hash__") or name.__hash__ is None:
                raise YamlProblem("a list or a mapping cannot be a key", line)
            if name in seen:
                raise YamlProblem(f"duplicate key {_shown(name)}, first in line {seen[name]}: keep one", line)
            seen[name] = line
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode) and _MISREAD.fullmatch(node.value):
            told = f"{node.value[:100]} is not a decimal number in YAML"
            raise YamlProblem(f"{told}: write it without leading 0 and colons, or quote it", node.start_mark.line + 1)
        of_kind = self.construct_yaml_int if node.tag.endswith(":int") else self.construct_yaml_float
        return of_kind(node)  # type: ignore[arg-type]  # raises for other nodes


class _Slow(_Plain, yaml.SafeLoader):
    """Loader in Python: slower, with better messages."""


_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Fast(_Plain, _BASE):  # type: ignore[misc]  # the base is known only at run time
    """Loader in C, where available."""


for _kind in ("int", "float"):
    for _loader in (_Slow, _Fast):
        yaml.add_constructor(f"tag:yaml.org,2002:{_kind}", _Plain.construct_number, _loader)


def _shown(key: Any) -> str:
    return repr(key)[:100]
