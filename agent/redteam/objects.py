"""Objects of a project's data that calls can name, and whose they are."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guardrails.subject_policy import Binding, SubjectPolicy
from tools.host import ToolOutcome

MOST_VALUES = 200
MOST_EVIDENCE = 24
"""Objects of a kind whose owner is looked up."""
Evidence = Callable[[str, dict[str, Any]], Awaitable[ToolOutcome]]
"""Calls a tool of the project."""


@dataclass(frozen=True)
class Objects:
    """Values that name objects, by argument.

    Attributes:
        known: values that stand in the data.
        owners: owner of each value, for arguments that the policy binds to the end user.
        subject, other: two end users who have objects; ``subject`` alone: one whose rows the data hold.
    """

    known: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    owners: Mapping[str, Mapping[Any, str]] = field(default_factory=dict)
    subject: str | None = None
    other: str | None = None

    def of(self, name: str, owner: str | None) -> list[Any]:
        """Values for an argument: the owner's if the argument is bound, else any."""
        if name in self.owners and owner is not None:
            return [value for value, whose in self.owners[name].items() if whose == owner]
        return list(self.known.get(name, ()))


async def objects(
    database: Path | None, names: Iterable[str], bound: SubjectPolicy | None, look_up: Evidence
) -> Objects:
    """Objects for arguments of these names.

    Args:
        database: SQLite file of the project's data.
        look_up: calls the tools that the policy names as evidence.
    """
    known = await asyncio.to_thread(_values, database, sorted(set(names)))
    owners: dict[str, dict[Any, str]] = {}
    for name, binding in (bound.arguments if bound else {}).items():
        found = await _owned(name, binding, known.get(name, ()), look_up)
        if found:
            owners[name] = found
    ranked = _ranked(owners)
    if len(ranked) > 1:
        return Objects(known, owners, *ranked[:2])
    return Objects(known, owners, await asyncio.to_thread(_signed_in, database, bound))


def _signed_in(database: Path | None, bound: SubjectPolicy | None) -> str | None:
    """An end user by the columns that hold the owner of a row. None where anonymous runs may call everything: they do
    more than those of an end user."""
    if bound is None or bound.anonymous.permits("*"):
        return None
    names = [name for name, one in bound.results.items() if one.equals == "subject.id" and one.evidence is None]
    found = _values(database, names)
    return next((str(values[0]) for values in found.values()), None)


async def _owned(name: str, binding: Binding, values: Sequence[Any], look_up: Evidence) -> dict[Any, str]:
    """Owners of values. Empty for objects that a claim of the subject names."""
    if binding.equals != "subject.id":
        return {}
    if binding.evidence is None or binding.field is None:
        return {value: str(value) for value in values}
    found: dict[Any, str] = {}
    for value in _spread(values, MOST_EVIDENCE):
        outcome = await look_up(binding.evidence, {name: value})
        if outcome.ok and isinstance(outcome.content, dict) and outcome.content.get(binding.field) is not None:
            found[value] = str(outcome.content[binding.field])
    if not any(count > 1 for count in Counter(found.values()).values()):
        found |= await _more(name, binding, values, found, look_up)
    return found


async def _more(
    name: str, binding: Binding, values: Sequence[Any], found: Mapping[Any, str], look_up: Evidence
) -> dict[Any, str]:
    """Looks further until an owner has a second object, so that an attacker can name another one of theirs."""
    more: dict[Any, str] = {}
    assert binding.evidence is not None
    assert binding.field is not None
    for value in values:
        if value in found:
            continue
        outcome = await look_up(binding.evidence, {name: value})
        if outcome.ok and isinstance(outcome.content, dict):
            owner = more[value] = str(outcome.content.get(binding.field))
            if owner in found.values():
                break
    return more


def _ranked(owners: Mapping[str, Mapping[Any, str]]) -> list[str]:
    """End users, those with objects of most kinds and with most objects first."""
    kinds = Counter(owner for found in owners.values() for owner in set(found.values()))
    many = Counter(owner for found in owners.values() for owner in found.values())
    return sorted(kinds, key=lambda owner: (-kinds[owner], -many[owner], owner))


def _spread(values: Sequence[Any], most: int) -> list[Any]:
    step = max(1, len(values) // most)
    return list(values[::step])[:most]


def _values(path: Path | None, names: Sequence[str]) -> dict[str, list[Any]]:
    """Values of columns that are named like an argument: ``order_id``, or ``id`` of ``orders``."""
    if path is None or not path.is_file():
        return {}
    found: dict[str, list[Any]] = {}
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {
            table: [row[1] for row in database.execute(f"PRAGMA table_info({_quoted(table)})")] for table in tables
        }
        for name in names:
            for table, column in _places(name, columns):
                rows = database.execute(
                    f"SELECT DISTINCT {_quoted(column)} FROM {_quoted(table)} WHERE {_quoted(column)} IS NOT NULL"
                    f" ORDER BY 1 LIMIT {MOST_VALUES}"
                ).fetchall()
                values = [value for (value,) in rows if isinstance(value, int | float | str)]
                if values:
                    found[name] = values
                    break
    return found


def _places(name: str, columns: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    stem = name.removesuffix("_id")
    tables = [table for table in columns if table.casefold() in (stem, f"{stem}s", f"{stem}es")] if stem != name else []
    first = [(table, "id") for table in tables if "id" in columns[table]]
    return first + [(table, name) for table, known in columns.items() if name in known]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
