"""Rows: training conversations, one JSON object per line.

``tools``, ``messages`` and ``response_format`` are OpenAI's. ``source`` (the set that a row comes from) and ``intent``
(the user's goal, if the set has it) help to select rows; the tuner ignores them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flightloop.errors import ConfigError

Row = dict[str, Any]
Message = dict[str, Any]
Tool = dict[str, Any]
Call = tuple[str, Mapping[str, Any]]
"""Name and arguments."""

_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Bad:
    """A record that could not be converted to a row: its place, and the reason."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


def row(source: str, messages: Sequence[Message], tools: Sequence[Tool] = (), **fields: Any) -> Row:
    """Creates a row without the fields that are None."""
    given = {key: value for key, value in fields.items() if value is not None}
    return {"source": source, **given, **({"tools": list(tools)} if tools else {}), "messages": list(messages)}


def tool(name: str, description: str, properties: Mapping[str, Any], required: Sequence[str] = ()) -> Tool:
    """A tool definition.

    Raises:
        ValueError: the name is not allowed in requests.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a valid tool name")
    parameters: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    if required:
        parameters["required"] = list(required)
    function = {"name": name, "description": tidy(description), "parameters": parameters}
    return {"type": "function", "function": function}


def said(role: str, text: str) -> Message:
    return {"role": role, "content": tidy(text)}


def called(calls: Sequence[Call], first: int = 0) -> Message:
    """An assistant message with calls, whose ids count from ``first``."""
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(dict(arguments), ensure_ascii=False)},
            }
            for number, (name, arguments) in enumerate(calls, first)
        ],
    }


def result(number: int, content: Any) -> Message:
    """Tool message with the result of call ``number``, as JSON."""
    return {"role": "tool", "tool_call_id": f"call_{number}", "content": json.dumps(content, ensure_ascii=False)}


def tidy(text: str) -> str:
    """A text in one line, with single spaces."""
    return " ".join(text.split())


def calls_of(given: Row) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Index of the message, name and arguments of each call.

    Raises:
        ValueError: a call's arguments are not a JSON object.
    """
    for place, message in enumerate(given["messages"]):
        for call in message.get("tool_calls") or ():
            name, text = call["function"]["name"], call["function"].get("arguments") or "{}"
            arguments = json.loads(text)
            if not isinstance(arguments, dict):
                raise ValueError(f"arguments of {name} are not an object")
            yield place, name, arguments


def content_text(message: Message) -> str:
    """A message's content as text, without parts of other types."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content or ""


def user_text(given: Row) -> str:
    """All messages of the user, one per line."""
    return "\n".join(content_text(message) for message in given["messages"] if message.get("role") == "user")


def read_rows(path: Path) -> Iterator[tuple[str, Row | Bad]]:
    """Yields the place and the row of each line of a JSONL file; for an invalid line, a `Bad` instead of the row.

    Raises:
        ConfigError: the file can't be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}", param="file") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            place = f"{path.name}:{number}"
            yield place, _parsed(place, line)


def _parsed(place: str, line: str) -> Row | Bad:
    try:
        value = json.loads(line)
    except ValueError:
        return Bad(place, "not JSON")
    if not isinstance(value, dict) or not isinstance(value.get("messages"), list):
        return Bad(place, 'not an object with a list of "messages"')
    return value


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes rows as JSONL and replaces the file's content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for each in rows:
            file.write(json.dumps(each, ensure_ascii=False) + "\n")
