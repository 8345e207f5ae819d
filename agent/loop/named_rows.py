"""Rows of a list that the user's words name.

A small model that reads a list answers with its first row more often than with the one that was asked for. So these
rows come first, and the user is asked about a write with a value of another row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from guardrails.text.scalars import scalar_texts
from tools.knowledge.words import terms

MOST_ROWS = 200
MOST_CHARACTERS = 20_000
"""Rows of longer lists stay where they are; longer messages name none."""
Row = Mapping[str, Any]


def named_first(content: Any, said: Sequence[str]) -> Any:
    """The content of a result with the rows first that the user names best; equal ones, and all others, stay in order.

    Rows are the objects of a list, or of the only list in an object. A word that all rows have names none of them, and
    one that few have counts more.

    Args:
        said: the user's messages, newest first; an older one decides where newer ones name no row.
    """
    if isinstance(content, dict):
        lists = [name for name, value in content.items() if isinstance(value, list)]
        return content | {lists[0]: named_first(content[lists[0]], said)} if len(lists) == 1 else content
    if not (rows := rows_of(content)):
        return content
    named = _named(rows, said)
    frequency = Counter(term for found in named for term in found)
    scores = [sum(1 / frequency[term] for term in found) for found in named]
    return [rows[at] for at in sorted(range(len(rows)), key=lambda at: -scores[at])]


def has_text(arguments: str) -> bool:
    """Whether a call's arguments, as JSON, have a text: its result may be in an order of relevance to it."""
    try:
        given = from_json(arguments)
    except ValueError:
        return True
    return not isinstance(given, dict) or any(isinstance(one, str) and one for one in given.values())


def rows_of(content: Any) -> list[Row]:
    """The rows of a result; none if it is no list of objects, or a long one. What a rail has changed is text."""
    if isinstance(content, str) and content[:1] in ("[", "{") and len(content) <= MOST_CHARACTERS:
        try:
            return rows_of(from_json(content))
        except ValueError:
            return []
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        return rows_of(lists[0]) if len(lists) == 1 else []
    if not isinstance(content, list) or not 2 <= len(content) <= MOST_ROWS:
        return []
    short = all(isinstance(row, dict) for row in content) and len(repr(content)) <= MOST_CHARACTERS
    return content if short else []


def rather(chosen: Any, field: str, rows: Sequence[Row], said: Sequence[str]) -> bool:
    """Whether one other row is named with all words by which a message names the chosen row, and more. False if the
    field does not tell the rows apart.

    Args:
        chosen: the value of that field in the chosen row.
        said: as `named_first` takes it.
    """
    values = [row.get(field) for row in rows]
    if values.count(chosen) != 1 or len(frozenset(map(repr, values))) < len(rows):
        return False
    named = _named(rows, said)
    mine, most = named[values.index(chosen)], max(map(len, named))
    return sum(found > mine and len(found) == most for found in named) == 1


def _named(rows: Sequence[Row], said: Sequence[str]) -> list[frozenset[str]]:
    """Of each row, the words that the first of the messages has that names any, without words that all rows have."""
    words = [_terms(row) for row in rows]
    common = frozenset.intersection(*words)
    for message in (one for one in said if len(one) <= MOST_CHARACTERS):
        asked = frozenset(terms(message))
        named = [(asked & row) - common for row in words]
        if any(named):
            return named
    return [frozenset()] * len(rows)


def _terms(row: Row) -> frozenset[str]:
    return frozenset(term for text in _texts(row.values()) for term in terms(text))


def _texts(values: Iterable[Any]) -> Iterable[str]:
    return (text for value in values for text in scalar_texts(value))
