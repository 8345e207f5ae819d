"""Calls in every format and dress: what the grammar allows and what is read from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from model.chat.calls import CALL_FORMATS, COMPACT, HERMES, LLAMA3, CallFormat
from model.engine.grammar import MAX_CALLS, grammar_for
from model.serve.openai_calls import CallReader
from tests.model.test_grammar import accepts, request, tool, walk

FIND = tool("find", {"properties": {"a": {"type": "string"}}})


def written(name: str, arguments: dict[str, Any], key: str = "arguments") -> str:
    return json.dumps({"name": name, key: arguments}, ensure_ascii=False)


def read(calls: CallFormat, text: str, held: bool = True, size: int = 1) -> tuple[str, list[tuple[str, Any]], bool]:
    """Plain text, calls and completeness of an answer that arrives in pieces of ``size``."""
    reader, plain, deltas = CallReader(calls, held=held), "", []
    for start in range(0, len(text), size):
        piece, found = reader.push(text[start : start + size])
        plain += piece
        deltas += found
    complete = reader.complete
    plain += reader.finish()
    names = [delta.function.name for delta in deltas if delta.id]
    arguments = ["".join(d.function.arguments or "" for d in deltas if d.index == n) for n in range(len(names))]
    assert [each for each in arguments if each != each.strip()] == []
    return plain, [(str(name), json.loads(each)) for name, each in zip(names, arguments, strict=True)], complete


ONE, TWO = ("find", {"a": "x } ] </tool_call> ``` {"}), ("find", {"a": "ä"})
DRESSES = {
    "hermes": (HERMES, f"<tool_call>\n{written(*ONE)}\n</tool_call>", [ONE]),
    "hermes, two": (
        HERMES,
        f"<tool_call>\n{written(*ONE)}\n</tool_call>\n<tool_call>\n{written(*TWO)}\n</tool_call>",
        [ONE, TWO],
    ),
    "fence": (HERMES, f"```json\n{written(*ONE)}\n```", [ONE]),
    "fenced list": (HERMES, f"```json\n[{written(*ONE)}, {written(*TWO)}]\n```", [ONE, TWO]),
    "bare": (HERMES, written(*ONE), [ONE]),
    "bare list": (HERMES, f"[{written(*ONE)}, {written(*TWO)}]", [ONE, TWO]),
    "llama": (LLAMA3, written(*ONE, "parameters"), [ONE]),
    "llama, fenced": (LLAMA3, f"```json\n{written(*ONE, 'parameters')}\n```", [ONE]),
    "compact": (COMPACT, f"<tool_call>[{written(*ONE)}, {written(*TWO)}]</tool_call>", [ONE, TWO]),
}


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("dress", DRESSES)
def test_a_call_in_any_dress_is_a_call(dress: str, size: int) -> None:
    calls, text, expected = DRESSES[dress]
    grammar = grammar_for(request(tools=[FIND]), calls)
    assert grammar is not None
    assert accepts(grammar, text)
    assert read(calls, text, size=size) == ("", expected, True)
    assert read(calls, text, held=False, size=size) == ("", expected, True)


@pytest.mark.parametrize("dress", DRESSES)
def test_a_call_that_is_cut_off_is_not_complete_and_shows_nothing(dress: str) -> None:
    calls, text, _ = DRESSES[dress]
    reader, shown = CallReader(calls), ""
    for sign in text[:-1]:
        shown += reader.push(sign)[0]
        if reader.complete:  # behind the first of several calls
            assert dress == "hermes, two"
    assert shown == ""
    begun = reader.finish()
    assert begun == ""


@pytest.mark.parametrize("calls", CALL_FORMATS.values(), ids=CALL_FORMATS)
def test_text_is_text(calls: CallFormat) -> None:
    grammar = grammar_for(request(tools=[FIND]), calls)
    assert grammar is not None
    for text in ("Hello, {name} <b>there</b>", "Look:\n```json\n[1, 2]\n```", "```python\nprint(1)\n```", "`x`"):
        assert accepts(grammar, text), text
        for size in (1, 5):
            assert read(calls, text, size=size) == (text, [], False)
            assert read(calls, text, held=False, size=size) == (text, [], False)
    for wrong in ('Sure: {"name": "find", "arguments": {}}', "<tool_call>\n{}", '{"name": "lose", "arguments": {}}'):
        assert not accepts(grammar, wrong), wrong


def test_loose_json_is_read_without_a_grammar() -> None:
    text = 'Here:\n{"name": "find"}'
    assert read(HERMES, text, held=False) == (text, [], False)
    loose = '\n<tool_call>{"name":"find",\n "arguments":{"a":1}}</tool_call>'
    assert read(HERMES, loose, held=False) == ("", [("find", {"a": 1})], True)
    for text in ('{"name": "Ada", "age": 36}', '```json\n{"name": "Ada"}\n```', "[1, 2]"):
        assert read(HERMES, text, held=False) == (text, [], False)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(CALL_FORMATS.values())), st.integers(0, 1000), st.booleans())
def test_whatever_the_grammar_allows_is_read(calls: CallFormat, seed: int, parallel: bool) -> None:
    properties = {"a": {"enum": ["x", 'q"}']}, "n": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["a"]}
    tools = [tool("find", schema), tool("lose")]
    grammar = grammar_for(request(tools=tools, tool_choice="required", parallel_tool_calls=parallel), calls)
    assert grammar is not None
    plain, found, complete = read(calls, walk(grammar, seed), size=1 + seed % 9)
    assert (plain, complete) == ("", True)
    assert 1 <= len(found) <= (MAX_CALLS if parallel and calls.parallel else 1)
    for name, arguments in found:
        if name == "find":
            Draft202012Validator(schema).validate(arguments)
