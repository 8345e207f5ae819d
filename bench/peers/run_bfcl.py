"""The Berkeley Function Calling Leaderboard as a judge: its cases, simulated services and checkers.

Unlike the engines, it has the tasks below. A call is ``{"name", "arguments"}`` with the arguments as JSON text, an
answer is ``{"calls", "text"}``, both as in a chat completion.

========================================================  ===========================================================
``{"task": ...``                                          answer
========================================================  ===========================================================
``about``                                                 ``version`` of the package, ``steps``: limit per turn
``cases``, category                                       ``cases``: ``id``, ``tools``, ``turns`` (messages of each)
``judge``, category, id, answer                           ``right``; ``why``: what is wrong
``begin``, category, id                                   resets a conversation's services to their initial state
``perform``, category, id, calls                          ``results``, one text per call; none if one isn't JSON
``judge_turns``, category, id, turns: answers of each     ``right``; ``why``: what is wrong; removes the services
========================================================  ===========================================================

Tools are in the package's format for OpenAI's API: with JSON Schema's types, and ``_`` for dots in names.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from importlib import import_module
from importlib.metadata import version
from types import ModuleType, SimpleNamespace
from typing import Any

from bench.peers.protocol import Answer, Task, serve

_MODEL = "flightloop"
_UNKNOWN = {"name": "unknown_function", "arguments": "{}"}
_MOST = 300
"""Longest reason, in characters."""

Call = Mapping[str, str]
Entry = dict[str, Any]


class Handler:
    """Parses answers like the package's own handler for OpenAI's API, which would require OpenAI's client."""

    def decode_ast(self, result: Any, language: Any, has_tool_call_tag: bool) -> list[Any]:
        return [{name: json.loads(arguments) for name, arguments in call.items()} for call in result]

    def decode_execute(self, result: Any, has_tool_call_tag: bool) -> list[str]:
        written: list[str] = import_module("bfcl_eval.model_handler.utils").convert_to_function_call(result)
        return written


class Judge:
    """The judge. Its methods are the tasks of the table."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        _stand_ins()
        self._runner = import_module("bfcl_eval.eval_checker.eval_runner")
        self._services = import_module("bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils")
        self._handler = Handler()

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        steps = import_module("bfcl_eval.constants.default_prompts").MAXIMUM_STEP_LIMIT
        return {"version": version("bfcl-eval"), "steps": steps}

    def cases(self, category: str) -> Answer:
        entries = _entries(category, hints=True).values()
        return {"cases": [{"id": each["id"], "tools": _tools(each), "turns": each["question"]} for each in entries]}

    def judge(self, category: str, id: str, answer: Mapping[str, Any]) -> Answer:
        entry, said = deepcopy(_entries(category)[id]), _said(answer)
        if "relevance" in category:
            check = self._runner._evaluate_single_relevance_entry
            return _verdict(check(self._handler, id, said, entry, _MODEL, category))
        enums = import_module("bfcl_eval.constants.enums")
        verdict = self._runner._evaluate_single_ast_entry(
            self._handler, id, said, _truths(category)[id], entry, _MODEL, category,
            enums.Language.PYTHON, enums.ReturnFormat.PYTHON,
        )  # fmt: skip
        return _verdict(verdict)

    def begin(self, category: str, id: str) -> Answer:
        kept = vars(self._services)
        for name in [name for name in kept if f"_{id}_" in name and name.endswith("_instance")]:
            del kept[name]
        return {}

    def perform(self, category: str, id: str, calls: Sequence[Call]) -> Answer:
        entry = _entries(category)[id]
        try:
            written = self._handler.decode_execute(_said({"calls": _lawful(calls, entry)}), False)
        except ValueError:
            return {"results": []}  # as in the package: the turn ends
        results, _ = self._services.execute_multi_turn_func_call(
            written, entry["initial_config"], entry["involved_classes"], _MODEL, id,
        )  # fmt: skip
        return {"results": results}

    def judge_turns(self, category: str, id: str, turns: Sequence[Sequence[Mapping[str, Any]]]) -> Answer:
        entry = deepcopy(_entries(category)[id])
        said = [[_said({**step, "calls": _lawful(step["calls"], entry)}) for step in turn] for turn in turns]
        check = self._runner._evaluate_single_multi_turn_entry
        verdict = check(self._handler, id, said, _truths(category)[id], entry, _MODEL, category)
        self.begin(category, id)
        return _verdict(verdict)


def _stand_ins() -> None:
    """Replaces modules that the checkers import but don't use: every vendor's client, and the leaderboard's writer."""
    models = ModuleType("bfcl_eval.constants.model_config")
    models.MODEL_CONFIG_MAPPING = {_MODEL: SimpleNamespace(underscore_to_dot=True)}  # type: ignore[attr-defined]
    for module in (models, ModuleType("bfcl_eval.eval_checker.eval_runner_helper")):
        sys.modules[module.__name__] = module


@cache
def _entries(category: str, hints: bool = False) -> dict[str, Entry]:
    """Cases by id, with ``hints`` in the format for models, otherwise in the format for the checkers."""
    load = import_module("bfcl_eval.utils").load_dataset_entry
    return {entry["id"]: entry for entry in load(category, include_language_specific_hint=hints)}


@cache
def _truths(category: str) -> dict[str, Any]:
    found = import_module("bfcl_eval.utils").load_ground_truth_entry(category)
    # Some entries have other ids than their cases, but their order is the same.
    return {id: each["ground_truth"] for id, each in zip(_entries(category), found, strict=True)}


def _tools(entry: Entry) -> list[Entry]:
    convert = import_module("bfcl_eval.model_handler.utils").convert_to_tool
    types = import_module("bfcl_eval.constants.type_mappings").GORILLA_TO_OPENAPI
    style = import_module("bfcl_eval.constants.enums").ModelStyle.OPENAI_COMPLETIONS
    made: list[Entry] = convert(entry["function"], types, style)
    return made


def _said(answer: Mapping[str, Any]) -> Any:
    """An answer in the package's own format: the calls, or the text if there are none."""
    return [{call["name"]: call["arguments"]} for call in answer["calls"]] or answer.get("text")


def _lawful(calls: Sequence[Call], entry: Entry) -> list[Call]:
    """Replaces calls with unknown or invalid names, since the package evaluates calls as Python."""
    known = {function["name"] for function in entry["function"]}
    return [call if call["name"] in known and _named_well(call["arguments"]) else _UNKNOWN for call in calls]


def _named_well(arguments: str) -> bool:
    try:
        given = json.loads(arguments)
    except ValueError:
        return True  # never reached
    return isinstance(given, dict) and all(name.isidentifier() for name in given)


def _verdict(verdict: Mapping[str, Any]) -> Answer:
    if verdict["valid"]:
        return {"right": True, "why": ""}
    error = verdict.get("error")
    kind = error["error_type"] if isinstance(error, dict) else verdict["error_type"]
    told = error.get("error_message", "") if isinstance(error, dict) else error
    first = str(told[0] if isinstance(told, list) and told else told)
    return {"right": False, "why": f"{kind}: {first}"[:_MOST]}


if __name__ == "__main__":
    serve(Judge)
