"""MetaTool: requests, and the tools that they need.

Source: Huang et al., "MetaTool Benchmark for Large Language Models: Deciding Whether to Use Tools and Which to Use"
(2023). Files: ``dataset/plugin_des.json``, ``dataset/data/all_clean_data.csv`` and ``multi_tool_query_golden.json``.
Its tools have no parameters. For one request in five, the needed tool is missing and the answer says that none fits.
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from model.tuner.data.row import Bad, Call, Row, Tool, called, row, said, tool
from model.tuner.data.sources.plan import Plan, Source

LEAST, MOST = 2, 6
NONE = 0.2
REFUSALS = (
    "None of the tools that I have can do that.",
    "I'm sorry, I have no tool for that.",
    "I can't help with that: none of my tools fits this request.",
    "That is not something that my tools can do.",
    "Unfortunately there is no tool here that could do that for you.",
    "I don't have a tool that fits. Is there something else that I can do?",
)
_WORD = re.compile(r"[a-z]{4,}")
_COMMON = frozenset(
    {"with", "your", "from", "that", "this", "have", "tool", "tools", "using", "information", "find", "about"}
)


def rows(folder: Path, plan: Plan) -> Iterator[Row | Bad]:
    base = next((path.parent for path in sorted(folder.rglob("plugin_des.json"))), folder)
    tools = {name: _tool(name, about) for name, about in _json(base / "plugin_des.json").items()}
    path = base / "data" / "all_clean_data.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for number, record in enumerate(csv.DictReader(file), 2):
            yield _row(record["Query"], [record["Tool"]], tools, plan, f"{path.name}, record {number}")
    path = base / "data" / "multi_tool_query_golden.json"
    for number, record in enumerate(_json(path), 1):
        yield _row(record["query"], record["tool"], tools, plan, f"{path.name}, record {number}")


def _row(query: str, names: Sequence[str], tools: Mapping[str, Tool], plan: Plan, place: str) -> Row | Bad:
    unknown = next((name for name in names if name not in tools), None)
    if unknown is not None:
        return Bad(place, f"{unknown} is not among the tools")
    draw = plan.draw(f"metatool:{place}")
    needed = [tools[name] for name in names]
    others = _unlike(needed, query, tools, draw)
    missing = len(needed) == 1 and bool(others) and draw.random() < NONE
    offered = others if missing else [*needed, *others]
    draw.shuffle(offered)
    calls: list[Call] = [(each["function"]["name"], {}) for each in needed]
    answer = said("assistant", draw.choice(REFUSALS)) if missing else called(calls)
    return row("metatool", [said("user", query), answer], offered)


def _unlike(needed: Sequence[Tool], query: str, tools: Mapping[str, Tool], draw: random.Random) -> list[Tool]:
    """Tools that share no significant word with the needed ones or the request, since many of the set do the same."""
    words = set(_WORD.findall(query.lower())).union(*map(_words, needed)) - _COMMON
    others = [each for each in tools.values() if not _words(each) & words]
    return draw.sample(others, min(len(others), draw.randint(LEAST, MOST) - 1))


def _words(each: Tool) -> set[str]:
    function = each["function"]
    return set(_WORD.findall(f"{function['name']} {function['description']}".lower()))


def _tool(name: str, about: str) -> Tool:
    return tool(name.replace("&", "And"), about, {})


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


SOURCE = Source(("all",), rows)
