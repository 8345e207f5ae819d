"""YAML that strangers may have written, read within limits. It lies here because every package above may import it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from flightloop import plain

DOCUMENT_BYTES = 256 * 1024
LEVELS = 64


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
        YamlProblem: it is none, has more than ``LEVELS`` levels or a value that is none of its kind; or it has aliases,
            with which a small file stands for a huge one.
    """
    try:
        return _read(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError):
        return _read_slowly(text)


def _read_slowly(text: str) -> Any:
    """By the loader that knows better what is wrong, and where. Raises YamlProblem."""
    try:
        return _read(text, yaml.SafeLoader)
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
