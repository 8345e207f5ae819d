"""NESTFUL: requests whose calls use the results of earlier ones.

Source: Basu et al., "NESTFUL: A Benchmark for Evaluating LLMs on Nested Sequences of API Calls" (2024). Files:
``data/*/*-data.json``, each with a ``*-spec.json``. The set has no results, so a row ends after the first step: the
calls before the first one that uses a result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from model.tuner.data.row import Bad, Call, Row, Tool, called, row, said, tool
from model.tuner.data.sources.plan import Plan, Source, beside

OTHERS = 3
_RESULT = re.compile(r"\$var")
_END = "var_result"
_PARAMETERS = ("query_parameters", "path_parameters", "parameters", "arguments")
_KEPT = ("description", "items", "properties", "enum", "default")
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object"})


def rows(folder: Path, plan: Plan) -> Iterator[Row | Bad]:
    paths = sorted(folder.rglob("*-data.json"))
    if not paths:
        raise FileNotFoundError(f"no file *-data.json below {folder}")
    for path in paths:
        tools: dict[str, Tool] = {}
        spec = path.with_name(path.name.replace("-data.json", "-spec.json"))
        for number, record in enumerate(json.loads(spec.read_text(encoding="utf-8")), 1):
            try:
                tools[record["name"]] = _tool(record)
            except (AttributeError, KeyError, ValueError) as error:
                yield Bad(f"{spec.name}, record {number}", str(error))
        for number, record in enumerate(json.loads(path.read_text(encoding="utf-8")), 1):
            yield _row(record, tools, plan, f"{path.name}, record {number}")


def _row(record: Any, tools: Mapping[str, Tool], plan: Plan, place: str) -> Row | Bad:
    calls: list[Call] = []
    steps = [each for each in record["output"] if each["name"] != _END]
    for each in steps:
        if _RESULT.search(json.dumps(each["arguments"])):
            break
        calls.append((each["name"], each["arguments"]))
    unknown = next((each["name"] for each in steps if each["name"] not in tools), None)
    if unknown is not None or not calls:
        return Bad(place, f"{unknown} is not among the tools" if unknown else "its first call uses a result")
    needed = [tools[each["name"]] for each in steps]
    messages = [said("user", record["input"]), called(calls)]
    draw = plan.draw(f"nestful:{place}")
    return plan.short(lambda most: row("nestful", messages, beside(needed, list(tools.values()), most, draw)), OTHERS)


def _tool(record: Any) -> Tool:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for kind in _PARAMETERS:
        for name, each in (record.get(kind) or {}).items():
            properties[name] = _schema(each)
            if each.get("required"):
                required.append(name)
    return tool(record["name"], record["description"], properties, required)


def _schema(parameter: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(parameter.get("type", "string")).lower()
    schema: dict[str, Any] = {"type": kind if kind in _TYPES else "string"}  # dates and enums are text
    schema |= {key: parameter[key] for key in _KEPT if parameter.get(key) is not None}
    values = parameter.get("allowed_values") or parameter.get("possible_values")
    if values and isinstance(values, list):
        schema["enum"] = values
    if parameter.get("default_value") is not None:
        schema["default"] = parameter["default_value"]
    return schema


SOURCE = Source(("all",), rows)
