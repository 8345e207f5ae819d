"""Rows of a tool's result: removes those that are not the subject's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import regex

from flightloop.wellformed import key_given_twice
from guardrails.evidence.ownership import Ownership
from guardrails.finders.fields import FieldNames
from guardrails.subject_policy import Binding
from guardrails.types import NoEvidence

WITHHELD = "withheld"
"""Key of the statement that replaces withheld rows."""
ERROR = "error: "
"""Beginning of the result of a failed call."""
ROWS = ("rows", "data", "values", "records")
"""Keys of an object with a table's head that may hold no rows at all."""
MOST_MENTIONS = 5000
"""Maximum number of names in a text without structure; each costs up to a tenth of a millisecond."""
_HEADING = regex.compile(r"[^\W\d][\w .()/#%-]{0,100}")
_SPACE = regex.compile(r"\s*")
_JSON = json.JSONDecoder()


class _Gone:
    """In place of a value that is withheld with all that it belongs to, up to the row."""


GONE = _Gone()


class _Unreadable(Exception):
    """A name stands where it is unknown which values belong to it: the row is withheld, or else the whole result."""


class Rows:
    """Removes rows of others from a result.

    A row is an object in a list, a row of a table, or the whole result. It is withheld with everything in it. Tables
    are objects with a list of names and lists of values (``columns`` and ``rows``), and lists that begin with a list
    of names. A text that is not JSON is kept or withheld as a whole, and with it the row or result that it belongs to.

    Args:
        bindings: by the name of the field.
        ownership: whose objects the values name.
    """

    def __init__(self, bindings: Mapping[str, Binding], ownership: Ownership) -> None:
        self._bindings = {name.casefold(): (name, binding) for name, binding in bindings.items()}
        self._names = FieldNames(bindings)
        self._ownership = ownership
        self.withheld = 0
        """Number of rows that were withheld."""

    async def text(self, text: str) -> str | None:
        """The text without rows of others; None if nothing is left. Unchanged if all rows are the subject's."""
        failed = text.startswith(ERROR)
        before = ERROR if failed else ""
        try:
            left = await self._of_text(text.removeprefix(before), failed)
        except _Unreadable:
            left = GONE
        if isinstance(left, _Gone):
            self.withheld += 1
            return None
        return before + left

    async def _of_text(self, text: str, prose: bool) -> str | _Gone:
        """
        Args:
            prose: whether sentences may mention bound names.
        """
        if not self._names.may_stand_in(text):
            return text
        pieces: list[str] = []
        at = 0
        while found := _json_value(text, at):
            value, start, end = found
            before, left = self.withheld, await self._left(value, prose)
            if isinstance(left, _Gone):
                if pieces or text[end:].strip():
                    raise _Unreadable
                return GONE
            pieces.append(text[at:end] if self.withheld == before else text[at:start] + _dumped(left))
            at = end
        await self._check_plain(text[at:], prose)
        return "".join([*pieces, text[at:]])

    async def _check_plain(self, text: str, prose: bool) -> None:
        """Raises _Unreadable unless a text without structure names objects of the subject only."""
        for number, mention in enumerate(self._names.mentions(text)):
            if number >= MOST_MENTIONS:
                raise _Unreadable
            if mention.prose and prose:
                continue
            if mention.value is None or not await self._owned(mention.name, mention.value, None):
                raise _Unreadable

    async def _left(self, value: Any, prose: bool) -> Any:
        if isinstance(value, dict):
            return await self._of_object(value, prose)
        if isinstance(value, list):
            return await self._of_list(value, prose)
        return await self._of_text(value, prose) if isinstance(value, str) else value

    async def _of_list(self, items: list[Any], prose: bool) -> list[Any]:
        head = next((at for at, item in enumerate(items) if self._is_head(item)), None)
        if head is None:
            return self._counted([await self._left(item, prose) for item in items])
        rows = await self._of_table(items[head], items[head + 1 :], prose)
        if not any(isinstance(row, list) for row in rows):  # then it may be no head
            raise _Unreadable
        return [*self._counted([await self._left(item, prose) for item in items[:head]]), items[head], *rows]

    async def _of_table(self, head: Sequence[str], rows: Sequence[Any], prose: bool) -> list[Any]:
        left: list[Any] = []
        for row in rows:
            if isinstance(row, dict) and self._bound(head) <= self._bound(row):
                left.append(await self._left(row, prose))
            elif isinstance(row, list) and len(row) == len(head):
                left.append(await self._of_row(list(zip(head, row, strict=True)), prose))
            else:
                raise _Unreadable
        return self._counted(left)

    def _counted(self, left: list[Any]) -> list[Any]:
        """The values of a list that are left, and a statement about the others."""
        kept = [one for one in left if not isinstance(one, _Gone)]
        if (gone := len(left) - len(kept)) == 0:
            return kept
        self.withheld += gone
        return [*kept, {WITHHELD: f"{gone} {'entry' if gone == 1 else 'entries'} of somebody else"}]

    async def _of_object(self, value: dict[str, Any], prose: bool) -> Any:
        heads = [key for key, inner in value.items() if self._is_head(inner)]
        if not heads:
            left = await self._of_row(list(value.items()), prose)
            return left if isinstance(left, _Gone) else dict(zip(value, left, strict=True))
        if len(heads) > 1:
            raise _Unreadable
        head = value[heads[0]]
        tables, flat = _rows_beside(head, value)
        read: dict[str, Any] = {key: await self._of_table(head, value[key], prose) for key in tables}
        for key in flat:
            if isinstance(await self._of_row(list(zip(head, value[key], strict=True)), prose), _Gone):
                return GONE
        others = {key: inner for key, inner in value.items() if key not in (*heads, *tables)}
        left = await self._of_row(list(others.items()), prose)
        if isinstance(left, _Gone):
            return GONE
        read |= {heads[0]: head, **dict(zip(others, left, strict=True))}
        return {key: read[key] for key in value}

    async def _of_row(self, fields: Sequence[tuple[str, Any]], prose: bool) -> list[Any] | _Gone:
        """The values of a row that are left; one may be without rows of others that are in it."""
        row = dict(fields)
        bound = [(name, value) for key, value in fields if (name := self._names.named(key)) is not None]
        for name, value in bound:
            if not await self._owned(name, value, row):
                return GONE
        try:
            left = [await self._left(value, prose or bool(bound)) for _, value in fields]
        except _Unreadable:
            if bound:
                return GONE
            raise
        return GONE if any(isinstance(value, _Gone) for value in left) else left

    def _is_head(self, value: Any) -> bool:
        """Whether a value may name the columns of a table, a bound one among them."""
        if not isinstance(value, list) or not all(isinstance(cell, str) and _HEADING.fullmatch(cell) for cell in value):
            return False
        return bool(self._bound(value))

    def _bound(self, names: Iterable[str]) -> set[str]:
        """The bound names among keys or the heads of columns."""
        return {name for one in names if (name := self._names.named(one)) is not None}

    async def _owned(self, key: str, value: Any, row: dict[str, Any] | None) -> bool:
        name, binding = self._bindings[key]
        try:
            return await self._ownership.owns(binding, name, value, row)
        except NoEvidence:
            return False


def _rows_beside(head: Sequence[str], value: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Keys of an object with a table's head whose values are its rows, and those whose values are one row.

    Raises:
        _Unreadable: there are no rows.
    """
    lists = {key: inner for key, inner in value.items() if isinstance(inner, list) and inner is not head}
    for kind in (list, dict):
        if tables := [key for key, inner in lists.items() if any(isinstance(row, kind) for row in inner)]:
            return tables, []
    flat = [key for key, inner in lists.items() if len(inner) == len(head)]
    if not flat and not any(lists.get(key) == [] for key in ROWS):
        raise _Unreadable
    return [], flat


def _json_value(text: str, at: int) -> tuple[Any, int, int] | None:
    """The object or list that begins at a place of a text, after blanks, with its start and end. None if there is none,
    or if readers may differ about it."""
    start = _SPACE.match(text, at).end()  # type: ignore[union-attr]
    if not text.startswith(("{", "["), start):
        return None
    try:
        value, end = _JSON.raw_decode(text, start)
        return None if key_given_twice(text[start:end]) else (value, start, end)
    except (ValueError, RecursionError):
        return None


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
