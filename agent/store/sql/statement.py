"""Named SQL statements in the dialect that SQLite and PostgreSQL share."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["sqlite", "postgresql"]
"""Kind of database."""
_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")
_OPTIONAL = re.compile(r"\[((?:AND|OR) [^\[\]]*)\]")
_AMONG = re.compile(r"\bAMONG\((\w+), :(\w+)\)")


class Statement:
    """SQL statement with named parameters, written ``:name``, and two extensions:

    - ``[AND agent = :agent]`` or ``[OR …]``: a condition that is left out if one of its parameters is None.
    - ``AMONG(holder, :gone)``: true if the column equals one of the texts of a list, which may be empty. The SQL text
      does not depend on the length of the list.
    """

    def __init__(self, sql: str) -> None:
        self._sql = " ".join(sql.split())
        self._lists = [name for _, name in _AMONG.findall(self._sql)]
        self._optional = {name for part in _OPTIONAL.findall(self._sql) for name in _PARAMETER.findall(part)}
        self._known: dict[tuple[Kind, frozenset[str]], str] = {}

    @classmethod
    def insert(cls, table: str, *columns: str) -> Statement:
        """A statement that inserts a row; its parameters have the names of the columns."""
        values = ", ".join(f":{name}" for name in columns)
        return cls(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})")

    def text(self, kind: Kind, given: Mapping[str, Any]) -> str:
        """SQL text for the driver."""
        absent = frozenset(name for name in self._optional if given[name] is None) if self._optional else frozenset()
        known = self._known.get((kind, absent))
        return known or self._known.setdefault((kind, absent), self._made(kind, absent))

    def values(self, kind: Kind, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Parameters for the driver."""
        if not self._lists:
            return given
        lists = {name: list(given[name]) for name in self._lists if given[name] is not None}
        return {**given, **({name: json.dumps(each) for name, each in lists.items()} if kind == "sqlite" else lists)}

    def _made(self, kind: Kind, absent: frozenset[str]) -> str:
        def kept(part: re.Match[str]) -> str:
            return "" if absent & set(_PARAMETER.findall(part[1])) else part[1]

        text = _OPTIONAL.sub(kept, self._sql)
        if kind == "sqlite":
            return _AMONG.sub(r"\1 IN (SELECT value FROM json_each(:\2))", text)
        text = _AMONG.sub(r"\1 = ANY(CAST(:\2 AS text[]))", text)
        return _PARAMETER.sub(r"%(\1)s", text.replace("%", "%%"))
