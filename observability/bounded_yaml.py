"""YAML that strangers may have written, read within limits. It lies here because every package above may import it."""

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
"""Numbers that YAML reads to the base of eight or sixty: 0100 is 64, and 1:40 is 100."""


class YamlProblem(ValueError):
    """A text is not YAML, or not such as is read. ``line``: where, if that is known."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line

    @property
    def place(self) -> str:
        """``:LINE``, to follow a file's name."""
        return f":{self.line}" if self.line else ""


def read_yaml(path: Path) -> Any:
    """What a YAML file says. Raises OSError, as ``plain.read``, UnicodeDecodeError and YamlProblem."""
    return yaml_of(plain.read_text(path, DOCUMENT_BYTES))


def yaml_of(text: str) -> Any:
    """What a YAML document says.

    Raises:
        YamlProblem: it is none, has more than ``LEVELS`` levels or a value that is none of its kind; it has aliases,
            with which a small file stands for a huge one; or it says what is easily read as something else: a key
            twice in one mapping, a merge of mappings, a number to the base of eight or sixty.
    """
    try:
        return _read(text, _Fast)
    except (yaml.YAMLError, ValueError):
        return _read_slowly(text)


def _read_slowly(text: str) -> Any:
    """By the loader that knows better what is wrong, and where. Raises YamlProblem."""
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
            raise YamlProblem(f"aliases (*{event.anchor}) are not read: repeat the text", line)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > LEVELS:
            raise YamlProblem(f"there are more than {LEVELS} levels", line)
    return yaml.load(text, Loader=loader)


class _Plain(SafeConstructor):
    """Values as whoever looks at the text reads them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                raise YamlProblem("merges (<<) are not read: write the keys where they belong", line)
            name = self.construct_object(key, deep=True)
            if not hasattr(name, "__hash__") or name.__hash__ is None:
                raise YamlProblem("a list or a mapping is no key", line)
            if name in seen:
                raise YamlProblem(f"the key {_shown(name)} stands twice, in line {seen[name]} before: keep one", line)
            seen[name] = line
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode) and _MISREAD.fullmatch(node.value):
            told = f"{node.value[:100]} is a number to another base than ten in YAML"
            raise YamlProblem(f"{told}: write it without zeros and colons, or quote it", node.start_mark.line + 1)
        of_kind = self.construct_yaml_int if node.tag.endswith(":int") else self.construct_yaml_float
        return of_kind(node)  # type: ignore[arg-type]  # it says what is wrong with another node


class _Slow(_Plain, yaml.SafeLoader):
    """In Python: its messages are the better ones."""


_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Fast(_Plain, _BASE):  # type: ignore[misc]  # which it is, is known only here
    """In C where that is there."""


for _kind in ("int", "float"):
    for _loader in (_Slow, _Fast):
        yaml.add_constructor(f"tag:yaml.org,2002:{_kind}", _Plain.construct_number, _loader)


def _shown(key: Any) -> str:
    return repr(key)[:100]
