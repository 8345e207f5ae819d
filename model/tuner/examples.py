"""Converts conversations to training examples: token ids, and which of them are trained on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import ValidationError

from flightloop.chat import ChatRequest
from flightloop.errors import ConfigError, InvalidRequest
from model.chat.compact import PLAN_OPEN, TURN_CLOSE, TURN_OPEN, TextEncoder, turns_of

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
    """

    tokens: tuple[int, ...]
    learned: tuple[bool, ...]

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


def read(path: Path, tokenizer: TextEncoder, longest: int, bad_rows: BadRows = "refuse") -> Reading[Example]:
    """Reads a JSONL file of ``{"messages": [...], "tools": [...]}``, the format of OpenAI's fine-tuning files.

    All assistant messages are trained on except those with ``"weight": 0``. A row may also have
    ``response_format``, and ``tool_choice``, which applies to the last message.

    Args:
        path: the file.
        tokenizer: the model's tokenizer.
        longest: maximum number of tokens of a row.
        bad_rows: whether bad rows raise an error ("refuse") or are skipped ("skip").

    Raises:
        ConfigError: the file can't be read, has no usable row, or has bad rows and ``bad_rows`` is "refuse".
    """
    return _read(path, lambda row: example_of(row, tokenizer, longest), bad_rows)


def read_pairs(path: Path, tokenizer: TextEncoder, longest: int, bad_rows: BadRows = "refuse") -> Reading[Pair]:
    """Reads a JSONL file of ``{"messages": [...], "chosen": message, "rejected": message, "tools": [...]}``.

    Arguments and errors are those of `read`. ``longest`` applies to the conversation with each of the two answers.
    """
    return _read(path, lambda row: pair_of(row, tokenizer, longest), bad_rows)


def _read(path: Path, made: Callable[[Any], Learned], bad_rows: BadRows) -> Reading[Learned]:
    items: list[Learned] = []
    bad: list[BadRow] = []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}", param="data") from error
    for line, row in enumerate(text.splitlines(), start=1):
        if not row.strip():
            continue
        try:
            items.append(made(json.loads(row)))
        except (ValueError, InvalidRequest) as error:
            bad.append(BadRow(line, _reason(error)))
    if bad and bad_rows == "refuse":
        shown = "; ".join(map(str, bad[:SHOWN])) + ("; and others" if len(bad) > SHOWN else "")
        rows = f"{len(bad)} bad row{'s' * (len(bad) > 1)}"
        raise ConfigError(f"{path} has {rows}: {shown}. Fix them, or use --bad-rows skip", param="data")
    if not items:
        raise ConfigError(f"{path} has no usable row", param="data")
    return Reading(tuple(items), tuple(bad))


def pair_of(row: Any, tokenizer: TextEncoder, longest: int) -> Pair:
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
        example_of({**row, "messages": [*copy.deepcopy(before), {**answer, "weight": 1}]}, tokenizer, longest)
        for answer in answers
    )
    return Pair(chosen, rejected)


def example_of(row: Any, tokenizer: TextEncoder, longest: int) -> Example:
    """Converts a row to tokens, laid out like the prompts of `model.chat.compact.encode`.

    Raises:
        ValueError: the row is not a conversation, is too long, or has no answer to train on.
        InvalidRequest: a message has content that the model doesn't support.
    """
    if not isinstance(row, dict) or not isinstance(row.get("messages"), list) or not row["messages"]:
        raise ValueError('a row must be an object with a list of "messages"')
    weights = [message.pop("weight", 1) if isinstance(message, dict) else 1 for message in row["messages"]]
    fields = {key: row[key] for key in ("tools", "tool_choice", "response_format") if row.get(key) is not None}
    request = ChatRequest(model="", messages=row["messages"], **fields)
    pairs = zip(request.messages, weights, strict=True)
    wanted = [message.role == "assistant" and bool(weight) for message, weight in pairs]
    if not any(wanted):
        raise ValueError("no assistant message to train on")
    tokens = _tokens(_turns(request, wanted), tokenizer)
    example = Example(tuple(token for token, _ in tokens), tuple(learned for _, learned in tokens))
    if len(example) > longest:
        raise ValueError(f"{len(example)} tokens exceed the limit of {longest}")
    return example


def _turns(request: ChatRequest, wanted: Sequence[bool]) -> list[tuple[str, str, bool]]:
    """Role and text of each turn, and whether it is trained on. The instruction for a forced call precedes the last
    turn."""
    whole = turns_of(request.model_copy(update={"tool_choice": None}))
    before = turns_of(request.model_copy(update={"messages": request.messages[:-1]}))
    added = len(whole) - len(request.messages)  # a system turn, if the row has none
    learned = [False] * added + list(wanted[:-1])
    learned += [False] * (len(before) - len(learned))
    return [(*turn, each) for turn, each in zip([*before, whole[-1]], [*learned, wanted[-1]], strict=True)]


def _tokens(turns: Iterable[tuple[str, str, bool]], tokenizer: TextEncoder) -> list[tuple[int, bool]]:
    opened, closed, newline = tokenizer.special[TURN_OPEN], tokenizer.special[TURN_CLOSE], tokenizer.encode("\n")
    tokens: list[tuple[int, bool]] = []
    for role, text, learned in turns:
        # When an answer is generated, its prompt ends here, so no token may span the border.
        given = PLAN_OPEN if learned and text.startswith(PLAN_OPEN) else ""
        split = len(given) if learned else len(text)
        tokens.append((opened, False))
        tokens += [(token, False) for token in tokenizer.encode(f"{role}\n{text[:split]}")]
        tokens += [(token, True) for token in tokenizer.encode(text[split:])]
        tokens += [(closed, learned), *((token, False) for token in newline)]
    return tokens


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).splitlines()[0]


def total(items: Iterable[Sized]) -> int:
    """Number of tokens of all items."""
    return sum(map(len, items))
