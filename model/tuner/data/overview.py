"""Summarises rows by the public set that they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from model.tuner.data.row import Message, Row, content_text

KINDS = ("call", "several", "ask back", "text", "JSON")
"""Kinds of answers: one call, several at once, ... With tools, text that ends with a question counts as "ask back"."""


@dataclass
class Holding:
    """Sums over the rows of a set."""

    rows: int = 0
    tokens: int = 0
    tools: int = 0
    calls: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, tokens: int) -> None:
        self.rows += 1
        self.tokens += tokens
        self.tools += len(row.get("tools") or ())
        self.calls += sum(len(message.get("tool_calls") or ()) for message in row["messages"])
        self.kinds.update(kinds_of(row))


def overview(
    rows: Sequence[Row],
    measure: Callable[[Row], int],
    told: Callable[[int], None] = lambda done: None,
) -> dict[str, Holding]:
    """Sums by source, sorted by name. Rows without a source count as ``""``."""
    found: dict[str, Holding] = {}
    for done, row in enumerate(rows, 1):
        found.setdefault(str(row.get("source", "")), Holding()).add(row, measure(row))
        told(done)
    return dict(sorted(found.items()))


def kinds_of(row: Row) -> Iterator[str]:
    """Kinds of the assistant's messages."""
    messages = row["messages"]
    for place, message in enumerate(messages):
        if message.get("role") == "assistant":
            last = place == len(messages) - 1
            yield _kind(message, bool(row.get("tools")), last and row.get("response_format") is not None)


def _kind(message: Message, has_tools: bool, formatted: bool) -> str:
    calls = len(message.get("tool_calls") or ())
    if calls:
        return "call" if calls == 1 else "several"
    if formatted:
        return "JSON"
    return "ask back" if has_tools and content_text(message).rstrip().endswith("?") else "text"
