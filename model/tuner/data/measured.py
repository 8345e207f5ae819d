"""Reads the cases of benchmarks, so that they can be removed from training data.

========== =======================================================================================
kind       path
========== =======================================================================================
bfcl       the data folder of the package ``bfcl-eval`` (Berkeley Function Calling Leaderboard)
tau2       the folder of a domain of tau2-bench; only tasks of the split ``test``
agentdojo  the folder of the package ``agentdojo``
tasks      JSONL of ``{"turns": [{"user": ...}]}`` (tasks) or ``{"text": ...}`` (messages)
rows       JSONL of ``{"messages": [...]}``
========== =======================================================================================
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flightloop.errors import ConfigError
from model.tuner.data.row import content_text

Signature = tuple[str, frozenset[str]]
"""Name of a function, and its parameters' names."""


@dataclass(frozen=True)
class Case:
    """A case of a benchmark: its place in the set, and the text of each user message."""

    place: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """A benchmark.

    Attributes:
        name: kind of the benchmark, or name of its file.
        cases: all cases.
        functions: functions that the cases offer.
    """

    name: str
    cases: tuple[Case, ...]
    functions: frozenset[Signature] = frozenset()


def read_measured(given: str) -> Measured:
    """Reads ``KIND=PATH``, or a file of tasks or rows.

    Raises:
        ConfigError: the kind is unknown, or the path doesn't contain such a benchmark.
    """
    kind, named, place = given.partition("=")
    path = Path(place if named else given)
    if named and kind not in _READERS:
        raise ConfigError(f"{given}: unknown kind {kind!r}; choose one of {', '.join(_READERS)}", param="against")
    try:
        found = _READERS[kind if named else "tasks"](path)
    except (OSError, ValueError, KeyError, TypeError, SyntaxError) as error:
        raise ConfigError(f"{given} can't be read: {type(error).__name__}: {error}", param="against") from error
    if not found.cases:
        raise ConfigError(f"{given} contains no cases; is it the right folder?", param="against")
    return found


def signature_of(function: Mapping[str, Any]) -> Signature:
    return str(function["name"]), frozenset((function.get("parameters") or {}).get("properties") or ())


def _bfcl(path: Path) -> Measured:
    cases: list[Case] = []
    functions: set[Signature] = set()
    for file in sorted(path.rglob("*.json")):
        if "possible_answer" in file.parts:
            continue
        for number, record in enumerate(_records(file), 1):
            if "question" in record:
                cases.append(Case(f"{file.name}, {record.get('id', number)}", tuple(_questions(record["question"]))))
                functions |= {signature_of(each) for each in record.get("function") or ()}
            elif "name" in record and "parameters" in record:
                functions.add(signature_of(record))
    return Measured("bfcl", tuple(cases), frozenset(functions))


def _questions(question: Any) -> Iterator[str]:
    """Texts of user messages, at any depth of nested turns."""
    if isinstance(question, list):
        for each in question:
            yield from _questions(each)
    elif isinstance(question, dict) and question.get("role") == "user":
        yield content_text(question)


def _tau2(path: Path) -> Measured:
    test = set(_json(path / "split_tasks.json")["test"])
    tasks = [each for each in _json(path / "tasks.json") if each["id"] in test]
    return Measured("tau2", tuple(Case(f"task {each['id']}", tuple(_texts(each["user_scenario"]))) for each in tasks))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)


def _agentdojo(path: Path) -> Measured:
    cases = []
    for file in sorted(path.rglob("*_tasks.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        known = _constants(tree.body, {})
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                inner = _constants(node.body, known)
                texts = tuple(inner[name] for name in ("PROMPT", "GOAL") if name in inner)
                cases += [Case(f"{file.parent.name}/{file.name}, {node.name}", texts)] if texts else []
    return Measured("agentdojo", tuple(cases))


def _constants(body: Sequence[ast.stmt], known: Mapping[str, str]) -> dict[str, str]:
    """String constants by name, including f-strings of other constants."""
    found = dict(known)
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = "".join(_pieces(node.value, found))
        elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
            found[node.target.id] = "".join(_pieces(node.value, found))
    return {name: text for name, text in found.items() if text}


def _pieces(node: ast.expr, known: Mapping[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield from _pieces(part, known)
    elif isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
        yield known.get(node.value.id, "")


def _tasks(path: Path) -> Measured:
    records = enumerate(_records(path), 1)
    cases = (Case(str(record.get("id", f"line {number}")), tuple(_said(record))) for number, record in records)
    return Measured(path.name, tuple(cases))


def _said(record: Mapping[str, Any]) -> Iterator[str]:
    if "text" in record:
        yield record["text"]
        return
    for each in record.get("messages") or record["turns"]:
        if each.get("role", "user") == "user":
            yield from _texts(each["user"]) if "user" in each else [content_text(each)]


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a JSONL file; none if the file is not JSONL."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            return
        if isinstance(record, dict):
            yield record


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


_READERS: Mapping[str, Callable[[Path], Measured]] = {
    "bfcl": _bfcl,
    "tau2": _tau2,
    "agentdojo": _agentdojo,
    "tasks": _tasks,
    "rows": _tasks,
}
