"""Converts conversations to training examples: token ids, and which of them are trained on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import ValidationError

from flightloop.chat import ChatRequest
from flightloop.errors import ConfigError, InvalidRequest
from model.chat.format import ChatFormat
from model.chat.hints import PLAN_NAME, plan_schema

BadRows = Literal["refuse", "skip"]
SHOWN = 5
"""Maximum number of bad rows in an error message."""


@dataclass(frozen=True)
class Example:
    """A conversation.

    Attributes:
        tokens: token ids.
        learned: for each token, whether it is trained on. True for the text of the assistant's turns and for the
            token that ends each turn.
        answers: indices of the messages that are trained on.
    """

    tokens: tuple[int, ...]
    learned: tuple[bool, ...]
    answers: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Pair:
    """Two answers to the same conversation, the better one first. Only the answers are trained on."""

    chosen: Example
    rejected: Example

    def __len__(self) -> int:
        """Tokens to compute: those of both answers, and their common prefix once."""
        return len(self.chosen) + len(self.rejected) - common(self.chosen, self.rejected)


def common(first: Example, other: Example) -> int:
    """Length of the common prefix of ``first`` and ``other``. At least one token of ``other`` is left."""
    pairs = zip(first.tokens, other.tokens[:-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@dataclass(frozen=True)
class BadRow:
    """An unusable row: its line, counted from 1, and the reason."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


Learned = TypeVar("Learned", Example, Pair)


@dataclass(frozen=True)
class Reading(Generic[Learned]):
    """Content of a file: usable rows (``items``) and bad rows."""

    items: tuple[Learned, ...]
    bad: tuple[BadRow, ...]


def read(path: Path, chat: ChatFormat, longest: int, bad_rows: BadRows = "refuse") -> Reading[Example]:
    """Reads a JSONL file of ``{"messages": [...], "tools": [...]}``, the format of OpenAI's fine-tuning files.

    All assistant messages are trained on except those with ``"weight": 0``. A row may also have
    ``response_format``, and ``tool_choice``, which applies to the last message.

    Args:
        path: the file.
        chat: how the model reads conversations.
        longest: maximum number of tokens of a row.
        bad_rows: whether bad rows raise an error ("refuse") or are skipped ("skip").

    Raises:
        ConfigError: the file can't be read, has no usable row, or has bad rows and ``bad_rows`` is "refuse".
    """
    return _read(path, lambda row: [example_of(each, chat, longest) for each in asked(row, chat)], bad_rows)


def read_pairs(path: Path, chat: ChatFormat, longest: int, bad_rows: BadRows = "refuse") -> Reading[Pair]:
    """Reads a JSONL file of ``{"messages": [...], "chosen": message, "rejected": message, "tools": [...]}``.

    Arguments and errors are those of `read`. ``longest`` applies to the conversation with each of the two answers.
    """
    return _read(path, lambda row: [pair_of(row, chat, longest)], bad_rows)


def _read(path: Path, made: Callable[[Any], list[Learned]], bad_rows: BadRows) -> Reading[Learned]:
    items: list[Learned] = []
    bad: list[BadRow] = []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}", param="data") from error
    for line, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        try:
            items += made(json.loads(row))
        except (ValueError, InvalidRequest) as error:
            bad.append(BadRow(line, _reason(error)))
    if bad and bad_rows == "refuse":
        shown = "; ".join(map(str, bad[:SHOWN])) + ("; and others" if len(bad) > SHOWN else "")
        rows = f"{len(bad)} bad row{'s' * (len(bad) > 1)}"
        raise ConfigError(f"{path} has {rows}: {shown}. Fix them, or use --bad-rows skip", param="data")
    if not items:
        raise ConfigError(f"{path} has no usable row", param="data")
    return Reading(tuple(items), tuple(bad))


def pair_of(row: Any, chat: ChatFormat, longest: int) -> Pair:
    """Converts a row to two conversations that differ only in their last message.

    Raises:
        ValueError: the row lacks two different answers, or one of them is unusable.
        InvalidRequest: a message has content that the model doesn't support.
    """
    fields = row if isinstance(row, dict) else {}
    answers = [answer for key in ("chosen", "rejected") if isinstance(answer := fields.get(key), dict)]
    if len(answers) < 2 or not isinstance(row.get("messages"), list):
        raise ValueError('a row must be an object with "messages", a "chosen" and a "rejected" message')
    if answers[0] == answers[1]:
        raise ValueError('"chosen" and "rejected" are the same message')
    before = [{**message, "weight": 0} if isinstance(message, dict) else message for message in row["messages"]]
    chosen, rejected = (
        example_of({**row, "messages": [*copy.deepcopy(before), {**answer, "weight": 1}]}, chat, longest)
        for answer in answers
    )
    return Pair(chosen, rejected)


def asked(row: Any, chat: ChatFormat) -> list[Any]:
    """The conversations of a row as they are asked for when the model serves.

    A format that doesn't show plans asks for each plan by itself, in its form; the rest of the row then is without
    plans.
    """
    messages = row.get("messages") if isinstance(row, dict) else None
    if chat.shows_plans or not isinstance(messages, list) or row.get("response_format"):
        return [row]
    names = [tool.get("function", {}).get("name") for tool in row.get("tools") or [] if isinstance(tool, dict)]
    schema = {"name": PLAN_NAME, "schema": plan_schema([name for name in names if isinstance(name, str)])}
    form = {"type": "json_schema", "json_schema": schema}
    plain: list[Any] = []
    plans: list[Any] = []
    for message in messages:
        if _answers(message) and message.get("name") == PLAN_NAME:
            if message.get("weight", 1):
                before = [{**each, "weight": 0} if _answers(each) else each for each in plain]
                plans.append({**row, "messages": [*before, message], "response_format": form})
        else:
            plain.append(message)
    learned = any(_answers(message) and message.get("weight", 1) for message in plain)
    return copy.deepcopy([*plans, {**row, "messages": plain}] if learned else plans or [row])


def _answers(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant"


def example_of(row: Any, chat: ChatFormat, longest: int) -> Example:
    """Converts a row to tokens, laid out like the prompts of the model when it serves.

    Raises:
        ValueError: the row is not a conversation, is too long, or has no answer to train on.
        InvalidRequest: a message has content that the model doesn't support.
    """
    if not isinstance(row, dict) or not isinstance(row.get("messages"), list) or not row["messages"]:
        raise ValueError('a row must be an object with a list of "messages"')
    weights = [message.pop("weight", 1) if isinstance(message, dict) else 1 for message in row["messages"]]
    fields = {key: row[key] for key in ("tools", "tool_choice", "response_format") if row.get(key) is not None}
    request = ChatRequest(model="", messages=row["messages"], **fields)
    pairs = enumerate(zip(request.messages, weights, strict=True))
    wanted = [index for index, (message, weight) in pairs if message.role == "assistant" and weight]
    pieces = chat.conversation(request, wanted)
    answers = tuple(piece.answer for piece in pieces if piece.answer is not None)
    if not answers:
        raise ValueError("no assistant message to train on")
    tokens = tuple(token for piece in pieces for token in piece.ids)
    learned = tuple(piece.answer is not None for piece in pieces for _ in piece.ids)
    if len(tokens) > longest:
        raise ValueError(f"{len(tokens)} tokens exceed the limit of {longest}")
    return Example(tokens, learned, answers)


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).splitlines()[0]


def total(items: Iterable[Sized]) -> int:
    """Number of tokens of all items."""
    return sum(map(len, items))
