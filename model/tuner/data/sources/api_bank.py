"""API-Bank: conversations with calls and their results (levels 1 and 2).

Source: Li et al., "API-Bank: A Comprehensive Benchmark for Tool-Augmented LLMs" (2023). Files: ``data/all_apis.csv``
and ``lv1-lv2-samples/*/*.jsonl``. The assistant's announcements of calls are dropped, since an answer is either
text or calls. Searches for tools (level 2) are dropped too: the tools that they find are offered from the start. A
tool's description in a search result matches its calls. The one in ``all_apis.csv`` often has other parameters; then
the parameters of the calls are used.
"""

from __future__ import annotations

import ast
import csv
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from model.tuner.data.row import Bad, Message, Row, Tool, called, result, row, said, tidy, tool
from model.tuner.data.sources.plan import Plan, Source, beside

SYSTEM = "You are a helpful assistant. The current year is 2023."  # from the set's own prompt
OTHERS = 3
MOST_CHARACTERS = 600
TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "datetime": "string",
    "object": "object",
    "dict": "object",
    "list": "array",
}
_SEARCH = "ToolSearcher"
_ABOUT = re.compile(r"description\s*=\s*(\"\"\"|\"|')(.*?)\1\s*\n", re.DOTALL)
_TAKES = re.compile(r"\bthat takes\b|\bby (?:providing|giving)\b|(?<=\.)\s")
_INPUT = re.compile(r"input_parameters\s*=\s*(\{.*?\n\}|None)", re.DOTALL)


def rows(folder: Path, plan: Plan) -> Iterator[Row | Bad]:
    base = next((path.parent.parent for path in sorted(folder.rglob("all_apis.csv"))), folder)
    dialogues: dict[str, list[Any]] = {}
    for path in sorted((base / "lv1-lv2-samples").glob("*/*.jsonl")):
        place = f"{path.parent.name}/{path.name}"
        try:
            dialogues[place] = [
                json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
            ]
        except ValueError as error:
            yield Bad(place, f"unreadable: {error}")
    calls = [turn for turns in dialogues.values() for turn in turns if turn["role"] == "API"]
    tools: dict[str, Tool] = {}
    for place, record in _apis(base / "data" / "all_apis.csv"):
        try:
            tools[record["类名"]] = _listed(record["类名"], record["api_info"], calls)
        except (KeyError, SyntaxError, ValueError) as error:
            yield Bad(place, f"{record.get('类名')}: unreadable description ({type(error).__name__})")
    tools |= _searched(calls)
    for place, turns in dialogues.items():
        yield _row(turns, tools, plan, place)


def _row(turns: Sequence[Any], tools: Mapping[str, Tool], plan: Plan, place: str) -> Row | Bad:
    messages = _messages(turns)
    unknown = sorted(_names(messages) - tools.keys())
    if unknown or not _names(messages):
        return Bad(place, f"{unknown[0]} is not among the APIs" if unknown else "no calls")
    draw = plan.draw(f"api-bank:{place}")
    made = _made(messages, tools, OTHERS, draw)
    while not plan.fits(made):  # too long: offer only one other tool, then cut the end as well
        made = _made(messages, tools, 1, draw)
        if plan.fits(made):
            break
        messages = messages[: max(at for at, each in enumerate(messages) if each["role"] == "user")]
        if not _names(messages):
            return Bad(place, "too long up to its first call")
    return made


def _names(messages: Sequence[Message]) -> set[str]:
    return {call["function"]["name"] for each in messages for call in each.get("tool_calls", ())}


def _made(messages: Sequence[Message], tools: Mapping[str, Tool], others: int, draw: random.Random) -> Row:
    needed = [tools[name] for name in sorted(_names(messages))]
    offered = beside(needed, list(tools.values()), others, draw)
    return row("api-bank", [said("system", SYSTEM), *messages], offered)


def _messages(turns: Sequence[Any]) -> list[Message]:
    messages: list[Message] = []
    calls = 0
    for turn in turns:
        if turn["role"] == "User":
            messages.append(said("user", turn["text"]))
        elif turn["role"] == "AI":
            _replace_text(messages)
            messages.append(said("assistant", turn["text"]))
        elif turn["api_name"] != _SEARCH:
            _replace_text(messages)
            outcome = turn["result"]
            messages += [called([(turn["api_name"], _arguments(turn))], calls), result(calls, _outcome(outcome))]
            calls += 1
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
    return messages


def _replace_text(messages: list[Message]) -> None:
    if messages and messages[-1]["role"] == "assistant" and "tool_calls" not in messages[-1]:
        messages.pop()


def _outcome(outcome: Any) -> Any:
    if outcome.get("exception"):
        return {"error": outcome["exception"]}
    found = outcome.get("output")
    while isinstance(found, list) and len(found) > 1 and len(json.dumps(found)) > MOST_CHARACTERS:
        found = found[:-1]
    return found


def _searched(calls: Sequence[Any]) -> dict[str, Tool]:
    """Tools in the results of tool searches."""
    found: dict[str, Tool] = {}
    for call in calls:
        output = call["result"]["output"] if call["api_name"] == _SEARCH else []
        for each in output if isinstance(output, list) else [output]:
            if isinstance(each, dict) and each.get("name") not in found:
                given = [other["param_dict"] for other in calls if other["api_name"] == each["name"]]
                found[each["name"]] = _tool(each["name"], each["description"], each["input_parameters"], given)
    return found


def _listed(name: str, info: str, calls: Sequence[Any]) -> Tool:
    """A tool from the table of all APIs."""
    about, inputs = _ABOUT.search(info), _INPUT.search(info)
    if about is None or inputs is None:
        raise ValueError("no description or parameters")
    listed = ast.literal_eval(inputs.group(1))
    parameters = listed if isinstance(listed, dict) else {}  # None, or a set that contains None: no parameters
    given = [_arguments(each) for each in calls if each["api_name"] == name]
    if all(arguments.keys() <= parameters.keys() for arguments in given):
        return _tool(name, about.group(2), parameters, given)
    unlike = {key: {"type": type(value).__name__} for arguments in given for key, value in arguments.items()}
    text = _TAKES.split(about.group(2))[0]  # the rest describes the other parameters
    return _tool(name, text, {key: parameters.get(key, each) for key, each in unlike.items()}, given)


def _tool(name: str, about: str, parameters: Mapping[str, Any], given: Sequence[Mapping[str, Any]]) -> Tool:
    # The set doesn't mark required parameters: they are those that every call has.
    required = [key for key in parameters if all(key in arguments for arguments in given)]
    return tool(name, about, {key: _schema(each) for key, each in parameters.items()}, required)


def _arguments(turn: Any) -> dict[str, Any]:
    """Arguments of an API call, preferably from the result, where they are parsed already."""
    arguments: dict[str, Any] = turn["result"].get("input") or turn["param_dict"]
    return arguments


def _schema(parameter: Mapping[str, Any]) -> dict[str, Any]:
    about = {"description": tidy(parameter["description"])} if "description" in parameter else {}
    return {**_type(parameter["type"]), **about}


def _type(name: str) -> dict[str, Any]:
    inner = re.fullmatch(r"[Ll]ist[\[(](\w+)[\])]", name)
    return {"type": "array", "items": {"type": TYPES[inner.group(1)]}} if inner else {"type": TYPES[name]}


def _apis(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, record in enumerate(csv.DictReader(file), 2):
            yield f"{path.name}, record {number}", record


SOURCE = Source(("all",), rows)
