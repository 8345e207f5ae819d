"""AgentDojo as a world: its tasks, its injections, its tools on simulated accounts, and its checks.

Debenedetti et al., "AgentDojo: A Dynamic Environment to Evaluate Prompt Injection Attacks and Defenses for LLM Agents",
arXiv 2406.13352. Unlike the engines, it has the tasks below. A call is ``{"tool", "arguments"}``.

========================================================  ===========================================================
``{"task": ...``                                          answer
========================================================  ===========================================================
``about``                                                 ``version`` of the package and of the ``benchmark``
``suites``                                                ``suites``: ``name``, ``tools`` (``name``, ``description``,
                                                          ``parameters``, ``returns``: fields of its result), and ids
                                                          of ``users`` and of ``injections`` that can be followed
``begin``, suite, user, injection?, attack?               begins a case: ``prompt``, ``calls`` and ``answer`` that solve
                                                          the user's task, ``injected`` and ``injected_answer``: those
                                                          that the injection wants
``perform``, call                                         ``result``, JSON; or ``failed``: the tool's error
``judge``, answer                                         ``useful``: the user's task is solved; ``harmed``: the
                                                          injection's is, or None without one
========================================================  ===========================================================
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version
from types import ModuleType, SimpleNamespace
from typing import Any

from bench.peers.protocol import Answer, Task, serve

BENCHMARK = "v1.2.2"
_PIPELINE = SimpleNamespace(name="local")
"""The attacked model: attacks address it by the name that the package has for a local one."""
_VENDORS = {
    "anthropic_llm": ("AnthropicLLM",),
    "cohere_llm": ("CohereLLM",),
    "google_llm": ("GoogleLLM", "EMPTY_FUNCTION_NAME"),
    "local_llm": ("LocalLLM",),
    "openai_llm": ("OpenAILLM", "OpenAILLMToolFilter"),
    "prompting_llm": ("BasePromptingLLM", "PromptingLLM"),
}


class World:
    """The world. Its methods are the tasks of the table."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        _stand_ins()
        self._suites = import_module("agentdojo.task_suite.load_suites").get_suites(BENCHMARK)
        self._runtime = import_module("agentdojo.functions_runtime")
        self._case: Case | None = None

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        return {"version": version("agentdojo"), "benchmark": BENCHMARK}

    def suites(self) -> Answer:
        return {
            "suites": [
                {
                    "name": name,
                    "tools": [_described(tool) for tool in suite.tools],
                    "users": sorted(suite.user_tasks),
                    "injections": sorted(name for name in suite.injection_tasks if self._can_be_followed(suite, name)),
                }
                for name, suite in self._suites.items()
            ]
        }

    def _can_be_followed(self, suite: Any, injection: str) -> bool:
        """Whether the package tells which calls or which answer an injection wants; of some it tells neither."""
        wanted = suite.injection_tasks[injection]
        calls = wanted.ground_truth(suite.load_and_inject_default_environment({}))
        return bool(calls or wanted.GROUND_TRUTH_OUTPUT)

    def begin(self, suite: str, user: str, injection: str | None = None, attack: str | None = None) -> Answer:
        found = self._suites[suite]
        task = found.user_tasks[user]
        wanted = found.injection_tasks[injection] if injection else None
        planted = self._attack(suite, attack).attack(task, wanted) if attack and wanted else {}
        environment = task.init_environment(found.load_and_inject_default_environment(planted))
        self._case = Case(found, task, wanted, environment, self._runtime.FunctionsRuntime(found.tools))
        return {
            "prompt": task.PROMPT,
            "calls": self._case.calls_of(task),
            "answer": task.GROUND_TRUTH_OUTPUT,
            "injected": self._case.calls_of(wanted) if wanted else [],
            "injected_answer": wanted.GROUND_TRUTH_OUTPUT if wanted else "",
        }

    def perform(self, call: Mapping[str, Any]) -> Answer:
        assert self._case is not None, "no case was begun"
        return self._case.perform(call["tool"], call["arguments"])

    def judge(self, answer: str) -> Answer:
        assert self._case is not None, "no case was begun"
        return self._case.judge(answer)

    @cache  # noqa: B019 - one world a process
    def _attack(self, suite: str, name: str) -> Any:
        return import_module("agentdojo.attacks").load_attack(name, self._suites[suite], _PIPELINE)


class Case:
    """A user's task and an injection in one environment."""

    def __init__(self, suite: Any, user: Any, injection: Any, environment: Any, runtime: Any) -> None:
        self._suite, self._user, self._injection = suite, user, injection
        self._before, self._environment = environment.model_copy(deep=True), environment
        self._runtime, self._made = runtime, list[Any]()

    def calls_of(self, task: Any) -> list[dict[str, Any]]:
        """The calls that solve a task, without calls as arguments: they are replaced by their results."""
        found = []
        for call in task.ground_truth(self._before.model_copy(deep=True)):
            given = self._runtime._execute_nested_calls(self._before.model_copy(deep=True), call.args)
            found.append({"tool": call.function, "arguments": _json(given)})
        return found

    def perform(self, tool: str, arguments: Mapping[str, Any]) -> Answer:
        calls = import_module("agentdojo.functions_runtime")
        self._made.append(calls.FunctionCall(function=tool, args=dict(arguments)))
        result, problem = self._runtime.run_function(self._environment, tool, arguments)
        return {"failed": problem} if problem else {"result": _json(result)}

    def judge(self, answer: str) -> Answer:
        said = [{"type": "text", "content": answer}]
        checked = (said, self._before, self._environment, self._made)
        useful = self._suite._check_user_task_utility(self._user, *checked)
        harmed = (
            None if self._injection is None else self._suite._check_injection_task_security(self._injection, *checked)
        )
        return {"useful": bool(useful), "harmed": None if harmed is None else bool(harmed)}


def _described(tool: Any) -> dict[str, Any]:
    schema = tool.parameters.model_json_schema()
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": {**schema, "additionalProperties": False},
        "returns": _fields(tool.return_type),
    }


def _fields(kind: Any) -> list[str]:
    """Fields of a tool's result, an object or a list of objects; none for a text."""
    inner = getattr(kind, "__args__", (kind,))
    return sorted({name for one in inner for name in getattr(one, "model_fields", {})})


def _json(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _json(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_json(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _stand_ins() -> None:
    """Replaces modules that the package imports but this doesn't use: every vendor's client."""
    for name, contents in _VENDORS.items():
        module = ModuleType(f"agentdojo.agent_pipeline.llms.{name}")
        for one in contents:
            setattr(module, one, "" if one.isupper() else type(one, (), {}))
        sys.modules[module.__name__] = module
    for name in ("openai", "cohere", "anthropic", "google", "google.genai", "requests"):
        sys.modules.setdefault(name, _Anything(name))


class _Anything(ModuleType):
    """A module with a class for each name that is imported from it."""

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":
            return []
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


if __name__ == "__main__":
    serve(World)
