"""Finds text in a tool result that third parties may have written, and that is long enough to instruct a model."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any

import regex

from guardrails.evidence.short_orders import orders
from guardrails.text.disguises import hidden_texts
from guardrails.text.scalars import scalar_texts
from guardrails.types import Read

_SPEAKS = regex.compile(
    r"(?<![\w'’-])[\d_'’-]*+[^\W\d_][\w'’-]*+[ \t]++[^\W\d_][\w'’-]*+[ \t]++[^\W\d_]|\p{Han}{4,}"
    r"|[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]{6,}"
)
"""Three words in a row, four Chinese characters, or six of another script that sets words without blanks. Most names
and addresses have fewer. Fewer instruct nobody but by a word for an act (`short_orders`). A row begins where a word
does: beginning at each letter of a long word takes quadratic time."""

_NAME = regex.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
"""Name of a field as programs write it."""


def tells(read: Read, memo: dict[object, object]) -> bool:
    """Whether a result has any text outside records that its own call did not have; searched once per result.

    Names of fields count where strangers write the result, and where they are more than a name.
    """
    key = (tells, read.key, read.run_id)
    found = memo.get(key)
    if not isinstance(found, bool):
        own = {*scalar_texts(as_json(read.arguments)), *read.trusted}
        memo[key] = found = any(text.strip() and text not in own for text in _untold(read))
    return found


def speaks(read: Read, memo: dict[object, object], verbs: tuple[str, ...] = ()) -> bool:
    """Whether a result has text of strangers that can suggest something, also in a code such as base64.

    Only tools that say that strangers write their results count. Searched once per result.

    Args:
        verbs: of the acts that the agent can do. A shorter text counts if it has a word for one of them.
    """
    key = (speaks, read.key, read.run_id, verbs)
    found = memo.get(key)
    if not isinstance(found, bool):
        memo[key] = found = read.strangers and any(_says_something(text, verbs) for text in said_by_strangers(read))
    return found


def has_text(read: Read, memo: dict[object, object]) -> bool:
    """Whether strangers may have written anything into a result, beyond what its own call had: its tool says so, or
    does not say that they don't."""
    key = (has_text, read.key, read.run_id)
    found = memo.get(key)
    if not isinstance(found, bool):
        may_be_theirs = read.strangers or (read.ok and not read.trusted)
        memo[key] = found = may_be_theirs and any(_new_texts(read))
    return found


def said_by_strangers(read: Read) -> Iterator[str]:
    """Values outside a result's trusted fields, and those names of fields that are more than names."""
    yield from (text for _, text in divided(read)[1])
    yield from _odd_names(read)


def _new_texts(read: Read) -> Iterator[str]:
    """What strangers may have written, without the values of the call's own arguments in the fields of the same name.
    Blanks count: they can be a code."""
    arguments = as_json(read.arguments)
    own = {name: scalar_texts(value) for name, value in arguments.items()} if isinstance(arguments, dict) else {}
    yield from (text for path, text in divided(read)[1] if text not in own.get(path.rpartition(".")[2], ()))
    yield from _odd_names(read)


def _odd_names(read: Read) -> Iterator[str]:
    return (name for name in _names(read) if not _NAME.fullmatch(name))


def _untold(read: Read) -> Iterator[str]:
    """Values outside a result's trusted fields, and the names of fields that are more than names."""
    yield from (text for _, text in divided(read)[1])
    yield from (name for name in _names(read) if read.strangers or not _NAME.fullmatch(name))


def _names(read: Read) -> Iterator[str]:
    """Names of a result's fields outside its trusted ones."""
    if "*" not in read.trusted:
        yield from _names_in(read.content, read.trusted)


def _names_in(node: Any, trusted: Collection[str] = ()) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from _names_in(one, trusted)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name not in trusted:
                yield str(name)
                yield from _names_in(value)


def as_json(text: str) -> Any:
    """The JSON value of a text, or the text if it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def divided(read: Read) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The values of a result's trusted fields, and all others, with their paths."""
    every = list(_fields("", read.content))
    if "*" in read.trusted:
        return every, []
    rows = {"": read.content}
    if isinstance(read.content, list):
        rows = {f"[{at}]": row for at, row in enumerate(read.content)}
    if not read.trusted or not all(isinstance(row, dict) for row in rows.values()):
        return [], every
    trusted: list[tuple[str, str]] = []
    untrusted: list[tuple[str, str]] = []
    for where, row in rows.items():
        for name, value in row.items():
            path = f"{where}.{name}".lstrip(".")
            if name in read.trusted:
                trusted += _fields(path, value)
            else:
                untrusted += _fields(path, value)
    return trusted, untrusted


def _fields(path: str, node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _fields(f"{path}.{name}".lstrip("."), value)
    elif isinstance(node, list):
        for at, value in enumerate(node):
            yield from _fields(f"{path}[{at}]", value)
    else:
        yield from ((path, text) for text in scalar_texts(node))


def _says_something(text: str, verbs: tuple[str, ...]) -> bool:
    return any(_SPEAKS.search(one) or orders(one, verbs) for one in chain((text,), hidden_texts(text)))
