"""Checking the arguments of a decision's calls keeps nobody else waiting, and has an end."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.loop import argument_checker
from agent.loop.argument_checker import TOO_LONG, ArgumentChecker
from agent.models.answer_chunks import calls, text
from flightloop.chat import FunctionCall
from flightloop.events import ToolResult
from flightloop.tool import Effect, Tool, ToolSpec, tool, tool_of
from tests.security.benches import bench
from tools.registry import Registry, performed_elsewhere

TEXT = {"type": "string"}
NODE = {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"a": {"$ref": "#/$defs/node"}}}]}


def registry(part: dict[str, Any], **schema: Any) -> Registry:
    parameters = {"type": "object", "properties": {"x": part}, **schema}
    return Registry([performed_elsewhere(ToolSpec("odd", "Odd.", parameters, Effect.PURE))])


class Seen(Registry):
    """Notes the threads that check; each check takes ``seconds`` of processor time."""

    def __init__(self, tools: list[Tool], seconds: float = 0.0) -> None:
        super().__init__(tools)
        self.seconds = seconds
        self.threads: list[threading.Thread] = []

    def problems(self, name: str, arguments: dict[str, Any], seconds: float = 0.25) -> list[str]:
        self.threads.append(threading.current_thread())
        until = time.thread_time() + self.seconds
        while time.thread_time() < until:
            pass
        return super().problems(name, arguments, seconds)


def seen(part: dict[str, Any], seconds: float = 0.0, **schema: Any) -> Seen:
    return Seen(registry(part, **schema).tools(), seconds)


def call(arguments: str = '{"x": "a"}') -> FunctionCall:
    return FunctionCall(name="odd", arguments=arguments)


async def check(toolbox: Registry, count: int = 1, made: FunctionCall | None = None) -> list[list[str]]:
    made = made or call()
    work = ArgumentChecker(toolbox, "default")
    return await asyncio.gather(*(work.problems(made, made.parsed()) for _ in range(count)))


@pytest.mark.parametrize(
    ("part", "schema", "made"),
    [
        ({"$ref": "#/$defs/node"}, {"$defs": {"node": NODE}}, call()),
        ({"type": "string", "pattern": "^a$"}, {}, call()),
        ({"enum": [f"a{number}" for number in range(3000)] + ["a"]}, {}, call()),
        (TEXT, {}, call(f'{{"x": "{"a" * 50_000}"}}')),
    ],
    ids=["references", "patterns", "large", "long"],
)
async def test_what_may_take_long_is_checked_beside_the_loop(
    part: dict[str, Any], schema: dict[str, Any], made: FunctionCall
) -> None:
    toolbox = seen(part, **schema)
    assert await check(toolbox, made=made) == [[]]
    assert toolbox.threads != [threading.main_thread()]


async def test_an_ordinary_call_is_checked_in_the_loop() -> None:
    toolbox = seen(TEXT)
    assert await check(toolbox) == [[]]
    assert toolbox.threads == [threading.main_thread()]


async def test_many_short_checks_leave_the_loop() -> None:
    toolbox = seen(TEXT, seconds=0.015)
    assert await check(toolbox, 20) == [[]] * 20
    assert toolbox.threads.count(threading.main_thread()) == 2


async def test_a_decisions_calls_are_checked_for_so_long_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argument_checker, "TOGETHER_S", 0.2)
    toolbox = seen({"$ref": "#/$defs/node"}, seconds=0.05, **{"$defs": {"node": NODE}})
    found = await check(toolbox, 64)
    assert found.count([TOO_LONG]) == 64 - len(toolbox.threads) > 50
    assert await check(toolbox) == [[]]  # the next decision begins anew


@tool(effect="pure")
def odd(x: Any) -> str:
    """Odd."""
    return "done"


async def test_a_run_goes_on_after_calls_that_took_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argument_checker, "TOGETHER_S", 0.02)
    found = tool_of(odd)
    assert found is not None
    parameters = {"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": DOUBLED}
    tools = [replace(found, spec=replace(found.spec, parameters=parameters))]
    slow = calls(*(("odd", {"x": {**DEEP, "b": number}}) for number in range(3)))
    desk = bench(tmp_path, slow, calls(("odd", {"x": 1})), text("Done."), tools=tools)
    run = await desk.work(await desk.start())
    results = [event for event in await desk.events(run) if isinstance(event, ToolResult)]
    assert [(result.ok, "too long to check" in (result.error or "")) for result in results] == [
        *[(False, True)] * 3,
        (True, False),
    ]
    assert run.status == "succeeded"


DOUBLED: dict[str, Any] = {
    f"d{at}": {"allOf": [{"properties": {"a": {"$ref": f"#/$defs/d{at + 1}"}}}] * 2} for at in range(14)
} | {"d14": {}}
"""No value is held against many of these, but one that is fourteen levels deep."""
DEEP: dict[str, Any] = {}
for _ in range(15):
    DEEP = {"a": DEEP}
