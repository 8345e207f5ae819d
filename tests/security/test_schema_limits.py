"""Schemas that nobody can work with: a 400 that says why, on every way in."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.api import ApiDeps, create_app
from agent.testing.api import KEY, api_deps
from flightloop import limits
from flightloop.chat import ChatRequest, FunctionDef, ToolDef
from flightloop.errors import ConfigError, InternalError, InvalidRequest, Overloaded
from flightloop.schemas import SchemaProblem, check
from model.engine.compiler import MOST, GrammarCompiler, check_tools
from model.engine.compiling import answer
from model.engine.grammar import grammar_for
from tools.registry import Registry

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def chain(length: int) -> dict[str, Any]:
    """Definitions that refer to each other, in an order that helps nobody."""
    order = [(index * 61) % length for index in range(length)]
    defs: dict[str, Any] = {f"d{here}": {"$ref": f"#/$defs/d{there}"} for here, there in pairwise(order)}
    return {"$ref": f"#/$defs/d{order[0]}", "$defs": dict(sorted({**defs, f"d{order[-1]}": {"type": "null"}}.items()))}


def doubled(levels: int, both: Callable[[Any, Any], dict[str, Any]]) -> dict[str, Any]:
    """A small schema whose definitions each refer to the next one twice."""
    defs = {f"d{at}": both(*[{"$ref": f"#/$defs/d{at + 1}"}] * 2) for at in range(levels)}
    last = {f"d{levels}": {"minLength": 1}}
    return {"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": {**defs, **last}}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "cycle": ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
              "refers to itself"),
    "itself": ({"$ref": "#"}, "refers to itself"),
    "through allOf": ({"allOf": [{"$ref": "#"}]}, "refers to itself"),
    "through anyOf": ({"anyOf": [{"type": "null"}, {"$ref": "#"}]}, "refers to itself"),
    "hidden": ({"$ref": "#/x/a", "x": {"a": {"$ref": "#/x/a"}}}, "refers to itself"),
    "endless object": ({"$ref": "#/$defs/node", "$defs": {"node": NODE}}, "no finite value"),
    "endless list": ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, "no finite value"),
    "endless if chosen": ({"type": "object", "properties": {"a": {"$ref": "#/$defs/node"}}, "$defs": {"node": NODE}},
                          "no finite value"),
    "deep": (nested(60), f"the limit is {limits.SCHEMA_LEVELS}"),
    "many": ({"enum": list(range(limits.SCHEMA_VALUES))}, f"the limit is {limits.SCHEMA_VALUES}"),
    "long": ({"description": "a" * limits.SCHEMA_CHARS}, f"the limit is {limits.SCHEMA_CHARS}"),
    "nowhere": ({"$ref": "#/$defs/a"}, "does not refer to a part of the schema"),
}  # fmt: skip

MANY = f"more than {limits.SCHEMA_VISITS} schemas"
for keyword in ("not", "if", "then", "else"):
    BAD[f"through {keyword}"] = ({"type": "object", keyword: {"$ref": "#"}}, "refers to itself")
    BAD[f"doubled {keyword}"] = (
        doubled(15, lambda a, b, keyword=keyword: {keyword: a, "allOf": [b]}),
        "more than 5000 schemas",
    )
for keyword in ("anyOf", "oneOf", "allOf"):
    BAD[f"doubled {keyword}"] = (doubled(15, lambda a, b, keyword=keyword: {keyword: [a, b]}), MANY)
BAD["through a name"] = ({"type": "object", "dependentSchemas": {"a": {"$ref": "#"}}}, "refers to itself")
BAD["doubled for a name"] = (doubled(15, lambda a, b: {"dependentSchemas": {"a": a, "b": b}}), MANY)

GOOD: dict[str, dict[str, Any]] = {
    "list": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
             "required": ["next"]},
    "tree": {"type": "array", "items": {"$ref": "#"}},
    "optional": {"type": "object", "properties": {"next": {"$ref": "#"}}},
    "shared": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "array", "items": {"$ref": "#/$defs/a"}}],
               "$defs": {"a": {"type": "string"}}},
    "chain": chain(40),
    "doubled for others": doubled(15, lambda a, b: {"properties": {"a": a, "b": b}, "items": a}),
    "choices": doubled(9, lambda a, b: {"anyOf": [a, b]}),
    "long enum": {"enum": [f"value {index}" for index in range(2000)]},
    "odd": {"properties": ["no mapping"], "required": 3, "minItems": "many", "anyOf": {}},
}  # fmt: skip


@asynccontextmanager
async def calling(deps: ApiDeps) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        yield client


def ways_in(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    user = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}
    function = {"name": "f", "parameters": schema}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    item = {"model": "scripted", "input": "hello"}
    chat, responses = "/v1/chat/completions", "/v1/responses"
    return [
        (chat, {**user, "response_format": form}),
        (chat, {**user, "response_format": form, "stream": True}),
        (chat, {**user, "tools": [{"type": "function", "function": function}]}),
        (responses, {**item, "text": {"format": {"type": "json_schema", "name": "a", "schema": schema}}}),
        (responses, {**item, "tools": [{"type": "function", **function}], "stream": True}),
    ]


@pytest.mark.parametrize("name", BAD)
async def test_the_api_refuses_it_on_every_way_in(name: str) -> None:
    schema, reason = BAD[name]
    deps = api_deps()
    async with calling(deps) as client:
        for path, body in ways_in(schema):
            told = await client.post(path, json=body)
            error = told.json()["error"]
            assert (told.status_code, error["code"]) == (400, "invalid_request"), (path, told.text)
            assert reason in error["message"], path
            assert "schema" in error["param"] or "parameters" in error["param"], path


@pytest.mark.parametrize("name", BAD)
def test_the_engine_refuses_it(name: str) -> None:
    schema, reason = BAD[name]
    with pytest.raises(InvalidRequest, match=reason):
        grammar_for(request(schema))


@pytest.mark.parametrize("name", GOOD)
def test_what_can_be_worked_with_passes(name: str) -> None:
    check(GOOD[name])


def test_references_over_countless_others_are_refused() -> None:
    with pytest.raises(SchemaProblem, match="chains of more than"):
        check(chain(1601))


def test_a_project_s_tool_is_refused_by_its_name_when_it_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "tools.py"
    file.write_text(
        "from pydantic import BaseModel\nfrom flightloop import tool\n\n\n"
        "class Node(BaseModel):\n    next: 'Node'\n\n\n"
        '@tool(effect=\'pure\')\ndef walk(start: Node) -> str:\n    """Walks."""\n    return \'\'\n'
    )
    with pytest.raises(ConfigError, match=r"tool walk: .*no finite value"):
        Registry.load([file])


def request(schema: dict[str, Any], tenant: str = "default") -> ChatRequest:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    return ChatRequest.model_validate(
        {
            "model": "m",
            "messages": [{"role": "user", "content": "x"}],
            "response_format": form,
            "flightloop": {"tags": {"tenant_id": tenant}},
        }
    )


# Answers at once, but never a question with the word "slow".
SCRIPT = """
import sys, threading
print("ready", flush=True)
for line in sys.stdin:
    if "slow" in line:
        threading.Event().wait()
    print('{"grammar": "start: TEXT"}', flush=True)
"""
COMMAND = (sys.executable, "-c", SCRIPT)


async def test_compiling_has_a_time_limit_and_the_next_schema_is_served() -> None:
    compiler = GrammarCompiler(limit_s=0.2, processes=1, command=COMMAND)
    try:
        with pytest.raises(InvalidRequest, match=r"more than 0\.2 s") as refused:
            await compiler.grammar(request({"const": "slow"}))
        assert refused.value.param == "response_format.json_schema.schema"
        assert await compiler.grammar(request({"const": "quick"})) == "start: TEXT"
        with pytest.raises(InvalidRequest, match="more than"):  # known by now
            await compiler.grammar(request({"const": "slow"}))
    finally:
        compiler.close()


async def test_a_process_that_does_not_start_is_no_fault_of_the_schema() -> None:
    compiler = GrammarCompiler(processes=1, command=(sys.executable, "-c", "input()"), start_s=0.1)
    try:
        for _ in range(2):  # a failure is not remembered as the schema's
            with pytest.raises(InternalError, match=r"did not start within 0\.1 s"):
                await compiler.grammar(request({"const": "quick"}))
    finally:
        compiler.close()


def test_a_tool_of_a_project_whose_schema_takes_too_long_is_named() -> None:
    tools = [ToolDef(function=FunctionDef(name=name)) for name in ("quick", "slow")]
    with pytest.raises(ConfigError, match=r"tool slow: .* more than 0\.2 s"):
        check_tools(tools, limit_s=0.2, command=COMMAND)


async def test_one_tenant_s_slow_schemas_keep_no_other_waiting() -> None:
    compiler = GrammarCompiler(limit_s=600, processes=2, command=COMMAND)
    slow = [asyncio.create_task(compiler.grammar(request({"const": f"slow {index}"}))) for index in range(MOST)]
    try:
        await asyncio.sleep(0)  # they have asked
        assert await compiler.grammar(request({"const": "quick"}, tenant="other")) == "start: TEXT"
        with pytest.raises(Overloaded, match="schemas of this tenant"):
            await compiler.grammar(request({"const": "one more"}))
        assert not any(task.done() for task in slow)
    finally:
        compiler.close()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_the_process_compiles_as_the_engine_would() -> None:
    compiler = GrammarCompiler(processes=1)
    try:
        good = request({"type": "object", "properties": {"a": {"type": "integer"}}})
        assert await compiler.grammar(good) == grammar_for(good)
        with pytest.raises(InvalidRequest, match="refers to itself"):
            await compiler.grammar(request({"$ref": "#"}))
    finally:
        compiler.close()


def test_too_much_together_is_told_by_the_process() -> None:
    fields = {"response_format": request({"not": {}}).response_format.model_dump(by_alias=True)}  # type: ignore[union-attr]
    assert "can't be used" in str(answer(fields)["problem"])


def test_references_to_elements_are_followed_at_once() -> None:
    """Each of thousands, which all point at the last one."""
    began = time.thread_time()
    check({"type": "object", "anyOf": [{"$ref": "#/anyOf/2299"}] * 2299 + [{"type": "object"}]})
    assert time.thread_time() - began < 3
    for wrong in ("01", "-1", "2300", "²", "9" * 5000):
        with pytest.raises(SchemaProblem, match="does not refer to a part of the schema"):
            check({"anyOf": [{"$ref": f"#/anyOf/{wrong}"}, {"type": "object"}]})
