"""``python -m agent dataset mask``: replaces personal data and keys in training rows."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import regex

from agent.admin.surrogates import SECRET, laid_out, occurrences, surrogate
from flightloop.errors import ConfigError
from guardrails.finders.pattern import Finder, merged
from guardrails.finders.pii import PATTERNS, bare, pii_finder
from guardrails.finders.secrets import secrets_finder
from model.tuner.data.row import Bad, Row, read_rows, write_rows

T = TypeVar("T")
Walk = Callable[[str], str]
PARTS = ("messages", "chosen", "rejected")
"""Fields of a row that contain messages; the last two belong to preferences."""


def mask_file(file: Path, out: Path, tell: Callable[[str], None]) -> Counter[str]:
    """Masks the rows of a file and prints the number of values per kind. Invalid lines are skipped with a message.

    Raises:
        ConfigError: the file can't be read, or is also the output file.
    """
    if out.resolve() == file.resolve():
        raise ConfigError(f"{out} would be overwritten: choose another output file", param="out")
    counts: Counter[str] = Counter()
    masked: list[Row] = []
    rows = 0
    draw = random.SystemRandom()
    for _, row in read_rows(file):
        if isinstance(row, Bad):
            tell(f"skipped: {row}")
            continue
        made = Masking(draw)
        masked.append(made.row(row))
        counts.update(made.counts)
        rows += bool(made.counts)
    write_rows(out, masked)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "nothing"
    tell(f"{out}: {len(masked)} rows, {rows} of them masked: {kinds}")
    return counts


@dataclass
class Masking:
    """Masks one row or task. Equal values get the same surrogate throughout.

    Attributes:
        draw: random source for surrogates.
        counts: number of different masked values by kind.
    """

    draw: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    _values: dict[str, tuple[regex.Pattern[str], str]] = field(default_factory=dict)

    def row(self, row: Row) -> Row:
        """Masks the texts, arguments and results in a row's messages."""
        return self._masked(lambda walk: _row(row, walk))

    def value(self, value: Any) -> Any:
        """Masks the strings, keys and integers of a JSON value."""
        return self._masked(lambda walk: _value(value, walk))

    def _masked(self, walked: Callable[[Walk], T]) -> T:
        # Find everything first: a phone number that follows the word "phone" in a text is bare in a call's arguments.
        walked(self._seen)
        longest_first = sorted(self._values, key=len, reverse=True)
        self._values = {value: self._values[value] for value in longest_first}
        return walked(self._replaced)

    def _seen(self, text: str) -> str:
        self._find(text)
        return text

    def _find(self, text: str) -> None:
        finders: tuple[tuple[Finder, bool], ...] = ((secrets_finder(), True), (pii_finder(tuple(PATTERNS)), False))
        for finder, secret in finders:
            for finding in merged(finder.find(text)):
                value = text[finding.start : finding.end]
                kind = SECRET if secret else finding.label
                key = value if secret else bare(value)
                if key not in self._values:
                    self.counts[finding.label] += 1
                    self._values[key] = (occurrences(value, kind), surrogate(kind, value, self.draw))

    def _replaced(self, text: str) -> str:
        """Replaces each part of a text at most once, because a surrogate may look like another value."""
        pieces = [(text, False)]
        for pattern, made in self._values.values():
            pieces = [
                part for piece, done in pieces for part in ([(piece, done)] if done else _split(piece, pattern, made))
            ]
        return "".join(piece for piece, _ in pieces)


def _split(text: str, pattern: regex.Pattern[str], made: str) -> Iterator[tuple[str, bool]]:
    at = 0
    for match in pattern.finditer(text):
        yield text[at : match.start()], False
        yield laid_out(made, match.group()), True
        at = match.end()
    yield text[at:], False


def _row(row: Row, walk: Walk) -> Row:
    return {**row, **{part: _messages(row[part], walk) for part in PARTS if part in row}}


def _messages(messages: Any, walk: Walk) -> Any:
    if isinstance(messages, list):
        return [_message(message, walk) for message in messages]
    return _message(messages, walk)


def _message(message: Any, walk: Walk) -> Any:
    if not isinstance(message, dict):
        return message
    changed = dict(message)
    if "content" in message:
        content = message["content"]
        changed["content"] = _json_text(content, walk) if isinstance(content, str) else _value(content, walk)
    if message.get("tool_calls"):
        changed["tool_calls"] = [_call(call, walk) for call in message["tool_calls"]]
    return changed


def _call(call: Any, walk: Walk) -> Any:
    function = call["function"]
    return {**call, "function": {**function, "arguments": _json_text(function.get("arguments") or "{}", walk)}}


def _json_text(text: str, walk: Walk) -> str:
    """Masks a text. A JSON object or list is masked value by value, so that it stays valid."""
    try:
        value = json.loads(text)
    except ValueError:
        return walk(text)
    if not isinstance(value, dict | list):
        return walk(text)
    made = _value(value, walk)
    return text if made == value else json.dumps(made, ensure_ascii=False)


def _value(value: Any, walk: Walk) -> Any:
    if isinstance(value, str):
        return walk(value)
    if isinstance(value, bool) or not isinstance(value, int | list | dict):
        return value
    if isinstance(value, int):
        made = walk(str(value))
        return int(made) if made.lstrip("-").isdecimal() else value
    if isinstance(value, list):
        return [_value(each, walk) for each in value]
    return {walk(key): _value(each, walk) for key, each in value.items()}
