"""Seal-Tools: requests over thousands of small tools, with one call or several.

Source: Wu et al., "Seal-Tools: Self-Instruct Tool Learning Dataset for Agent Tuning and Detailed Benchmark" (2024).
Files: ``tool.jsonl`` and ``dev.jsonl`` or ``test_in_domain.jsonl``. Rows whose calls use another call's result are left
out, since the set has no results.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from model.tuner.data.row import Bad, Row, Tool, called, row, said, tool
from model.tuner.data.sources.plan import Plan, Source, beside

OTHERS = 4
TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array", "dict": "object"}
_RESULT = "API_call_"


def rows(folder: Path, plan: Plan) -> Iterator[Row | Bad]:
    base = next((path.parent for path in sorted(folder.rglob("tool.jsonl"))), folder)
    tools: dict[str, Tool] = {}
    for place, record in _records(base / "tool.jsonl"):
        try:
            tools[record["api_name"]] = _tool(record)
        except (KeyError, ValueError) as error:
            yield Bad(place, str(error))
    for place, record in _records(base / f"{plan.split}.jsonl"):
        yield _row(record, tools, plan, place)


def _row(record: Any, tools: Mapping[str, Tool], plan: Plan, place: str) -> Row | Bad:
    calls = [(each["api"], each["parameters"]) for each in record["calling"]]
    unknown = next((name for name, _ in calls if name not in tools), None)
    if unknown is not None or not calls:
        return Bad(place, f"{unknown} is not among the tools" if unknown else "no calls")
    if any(_RESULT in json.dumps(arguments) for _, arguments in calls):
        return Bad(place, "a call uses another's result, which the set does not have")
    needed = [tools[name] for name, _ in calls]
    messages = [said("user", record["query"]), called(calls)]
    draw = plan.draw(f"seal-tools:{record['id']}")
    return plan.short(
        lambda most: row("seal-tools", messages, beside(needed, list(tools.values()), most, draw)), OTHERS
    )


def _tool(record: Any) -> Tool:
    properties = {
        name: {"type": TYPES[each["type"]], "description": each["description"]}
        for name, each in record["parameters"].items()
    }
    return tool(record["api_name"], record["api_description"], properties, record["required"])


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            yield f"{path.name}:{number}", json.loads(line)


SOURCE = Source(("dev", "test_in_domain"), rows)
