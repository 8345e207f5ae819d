from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from numpy.typing import NDArray

from flightloop.chat import ChatRequest
from flightloop.errors import InternalError, InvalidRequest
from model.chat.compact import CALL_CLOSE, CALL_OPEN, call_text
from model.engine.grammar import MAX_CALLS, Matcher, grammar_for
from model.engine.masks import unpack
from model.engine.schema import MAX_ITEMS, MAX_LENGTH
from model.engine.vocabulary import Vocabulary
from model.weights.tiny import embedded_tokenizer


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary(embedded_tokenizer(), 49_152)


def request(**options: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=[{"role": "user", "content": "x"}], **options)


def tool(name: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters or {}}}


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def allowed(matcher: Matcher, drafts: Sequence[int] = ()) -> NDArray[np.bool_]:
    """The tokens that may come after the drafts."""
    words = np.empty((1 + len(drafts), 49_152 // 32), np.uint32)
    matcher.fill(drafts, words)
    return unpack(words[-1], 49_152)


def accepts(grammar: str, text: str) -> bool:
    """Whether the whole text, then an end token, is an answer."""
    matcher = vocabulary().grammars.matcher(grammar)
    try:
        for token in vocabulary().tokenizer.encode(text):
            matcher.advance(token)
    except InternalError:
        return False
    return bool(allowed(matcher)[vocabulary().tokenizer.eos_id])


def walk(grammar: str, seed: int, most: int = 4000) -> str:
    """An answer of random allowed tokens: what a bad model would write."""
    random, matcher, text = Random(seed), vocabulary().grammars.matcher(grammar), b""
    ends = vocabulary().ends
    for _ in range(most):
        choices = np.flatnonzero(allowed(matcher))
        assert len(choices), "there is always a way on"
        if ends & set(choices.tolist()):
            return text.decode()
        token = int(choices[random.randrange(len(choices))])
        text += vocabulary().piece(token)
        matcher.advance(token)
        if matcher.complete:
            return text.decode()
    raise AssertionError(f"no end after {most} tokens: {text[-80:]!r}")


scalars = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "maxLength": 3},
        {"type": "string", "minLength": 2, "maxLength": 4},
        {"type": "string", "pattern": "^[A-Z]-[0-9]{1,3}$"},
        {"type": "string", "format": "date"},
        {"type": "string", "format": "unheard-of"},
        {"type": "integer"},
        {"type": "integer", "minimum": 3, "maximum": 12},
        {"type": "number"},
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "boolean"},
        {"type": "null"},
        {"type": ["string", "null"]},
        {"enum": ["open", "sent", 3, None]},
        {"const": "x"},
        {"anyOf": [{"type": "integer"}, {"type": "boolean"}]},
        {},
    ]
)


def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from(["id", "größe", 'quo"te', "a b"])
    objects = st.dictionaries(names, inner, max_size=3).flatmap(
        lambda members: st.sets(st.sampled_from(sorted(members)) if members else st.nothing()).map(
            lambda required: {"type": "object", "properties": members, "required": sorted(required)}
        )
    )
    arrays = st.tuples(inner, st.integers(0, 2)).map(
        lambda pair: {"type": "array", "items": pair[0], "minItems": pair[1]}
    )
    maps = inner.map(lambda value: {"type": "object", "additionalProperties": value})
    unions = st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    return objects | arrays | maps | unions


schemas = st.recursive(scalars, nested, max_leaves=5)


@given(schemas, st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_whatever_is_written_validates(schema: dict[str, Any], seed: int) -> None:
    grammar = grammar_for(request(response_format=json_schema(schema)))
    assert grammar is not None
    Draft202012Validator(schema).validate(json.loads(walk(grammar, seed)))


@given(st.lists(schemas, min_size=1, max_size=3), st.booleans(), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_calls_are_well_formed(arguments: list[dict[str, Any]], parallel: bool, seed: int) -> None:
    parameters = {f"tool{n}": {"type": "object", "properties": {"p": each}} for n, each in enumerate(arguments)}
    grammar = grammar_for(
        request(
            tools=[tool(*each) for each in parameters.items()], tool_choice="required", parallel_tool_calls=parallel
        )
    )
    assert grammar is not None
    text = walk(grammar, seed)
    assert text.startswith(CALL_OPEN)
    assert text.endswith(CALL_CLOSE)
    calls = json.loads(text[len(CALL_OPEN) : -len(CALL_CLOSE)])
    assert 1 <= len(calls) <= (MAX_CALLS if parallel else 1)
    for call in calls:
        Draft202012Validator(parameters[call["name"]]).validate(call["arguments"])


def test_an_answer_reads_like_the_prompt_writes_it() -> None:
    grammar = grammar_for(request(tools=[tool("find", {"properties": {"a": {"type": "string"}, "b": {}}})]))
    assert grammar is not None
    assert accepts(grammar, call_text([("find", {"a": 'Kö"ln\n', "b": [1, {"c": None}]}), ("find", {})]))


def test_auto_is_text_or_call() -> None:
    grammar = grammar_for(request(tools=[tool("find")], tool_choice="auto"))
    assert grammar is not None
    assert accepts(grammar, "Hello <callers> there, {name} and <b>you</b>, find (7)")
    assert accepts(grammar, call_text([("find", {})]))
    assert accepts(grammar, call_text([("find", {})] * MAX_CALLS))
    for wrong in (
        "",
        " Hello",
        "Hello " + call_text([("find", {})]),
        call_text([("find", {})]) + "Hello",
        call_text([("find", {})] * (MAX_CALLS + 1)),
        call_text([("lose", {})]),
        call_text([]),
        "Hello <tool> there",
        '<tool>{"goal": "find it", "tools": ["find"]}</tool>',
        "<toolCall>[",
        '<button>["find"]</button>',
        "{x}",
        "[7]",
        '<planCall>[{"name": "find"}]',
        '<button>{"goal__": "find it"}</button>',
        '<b>[{"name"',
        'So: "tools": ["find"]',
        "Hello < /Function",
        "find(7)",
        "[functions.find (7)]",
        'Hello {"goal": "find it"}',
        'Hello {"id": 7, "arguments": {}}',
        "<|python_tag>",
        "[TOOL_CALLS]",
        CALL_OPEN + '[{"name":"find","arguments":{}}]' + CALL_CLOSE,
    ):
        assert not accepts(grammar, wrong), wrong


def test_tool_choice_narrows() -> None:
    tools = [tool("find"), tool("lose")]
    for choice, text, find, lose in (
        (None, True, True, True),
        ("none", True, False, False),
        ("required", False, True, True),
        ({"type": "function", "function": {"name": "lose"}}, False, False, True),
    ):
        grammar = grammar_for(request(tools=tools, tool_choice=choice))
        assert grammar is not None
        assert accepts(grammar, "Hello") == text
        assert accepts(grammar, call_text([("find", {})])) == find
        assert accepts(grammar, call_text([("lose", {})])) == lose
    assert grammar_for(request()) is None


def test_tools_that_are_not_strict_are_not_held() -> None:
    loose = {"type": "function", "function": {"name": "find", "strict": False}}
    assert grammar_for(request(tools=[loose])) is None
    for held in (
        {"tools": [loose, tool("lose")]},
        {"tools": [loose], "tool_choice": "required"},
        {"tools": [loose], "tool_choice": "none"},
        {"tools": [loose], "response_format": {"type": "json_object"}},
    ):
        assert grammar_for(request(**held)) is not None


def test_a_response_format_takes_the_place_of_text() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    grammar = grammar_for(request(tools=[tool("find")], response_format=json_schema(schema)))
    assert grammar is not None
    assert accepts(grammar, '{"a": 1}')
    assert accepts(grammar, call_text([("find", {})]))
    assert not accepts(grammar, "Hello")


def test_what_the_schema_leaves_open_is_bounded() -> None:
    grammar = grammar_for(request(response_format=json_schema({"type": "array", "items": {"type": "string"}})))
    assert grammar is not None
    assert accepts(grammar, json.dumps(["a" * MAX_LENGTH] * MAX_ITEMS))
    assert not accepts(grammar, json.dumps(["a" * (MAX_LENGTH + 1)]))
    assert not accepts(grammar, json.dumps(["a"] * (MAX_ITEMS + 1)))
    assert not accepts(grammar, '["a",  "b"]')
    free = grammar_for(request(response_format={"type": "json_object"}))
    assert free is not None
    assert accepts(free, '{"a": [1.5, {"b": true}]}')
    assert not accepts(free, "[1]")
    assert not accepts(free, '{"a": 1.12345678901234567890}')


def test_references_stay_within_their_tool() -> None:
    def referring(kind: str) -> dict[str, Any]:
        return {"properties": {"x": {"$ref": "#/$defs/X"}}, "required": ["x"], "$defs": {"X": {"type": kind}}}

    grammar = grammar_for(request(tools=[tool("a", referring("integer")), tool("b", referring("boolean"))]))
    assert grammar is not None
    assert accepts(grammar, call_text([("a", {"x": 1}), ("b", {"x": True})]))
    assert not accepts(grammar, call_text([("a", {"x": True})]))
    recursive = {"$ref": "#/$defs/N", "$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}}}
    grammar = grammar_for(request(response_format=json_schema(recursive)))
    assert grammar is not None
    assert accepts(grammar, '{"n": {"n": {}}}')


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tools": [tool("a", {"type": "objekt"})]}, r"tools\[0\]\.function\.parameters\['type'\].*'objekt'"),
        ({"tools": [tool("a", {"type": "array"})]}, r"tools\[0\]\.function\.parameters\.type must be 'object'"),
        (
            {"tools": [tool("a", {"properties": {"x": {"$ref": "#/y"}}})]},
            r"'#/y' does not refer to a part of the schema",
        ),
        ({"response_format": json_schema({"type": "array", "uniqueItems": True})}, "uniqueItems"),
        ({"tools": [tool("a"), tool("a")]}, r"tools\[1\]\.function\.name: 'a' appears twice"),
        ({"tool_choice": "required"}, "needs at least one tool"),
        ({"tools": [tool("a")], "tool_choice": {"function": {"name": "b"}}}, "'b'.*known: a"),
        ({"response_format": {"type": "json_schema"}}, "json_schema is missing"),
        ({"response_format": json_schema({"minLength": -1})}, r"response_format\.json_schema\.schema\['minLength'\]"),
        ({"response_format": json_schema({"enum": []})}, "response_format"),
        ({"response_format": json_schema({"$ref": "http://elsewhere/x"})}, "does not refer to a part of the schema"),
    ],
)
def test_a_bad_schema_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        grammar_for(request(**options))
    assert caught.value.param


def encode(text: str) -> list[int]:
    return vocabulary().tokenizer.encode(text)


def test_a_guess_is_cut_where_the_grammar_forbids_it() -> None:
    grammar = grammar_for(request(response_format=json_schema({"type": "array", "items": {"enum": ["ab", "cd"]}})))
    assert grammar is not None
    matcher = vocabulary().grammars.matcher(grammar)
    good, bad = encode('["ab", "cd", "ab"'), encode('["ab", "cd", "xyz"')
    assert matcher.admitted(good, dictate=False) == good
    admitted = matcher.admitted(bad, dictate=False)
    assert admitted == bad[: len(admitted)]
    assert vocabulary().tokenizer.decode(admitted).startswith('["ab", "cd"')
    assert len(admitted) < len(bad)
    assert matcher.admitted(bad[1:], dictate=False) == []


def test_a_guess_never_ends_the_answer() -> None:
    matcher = vocabulary().grammars.matcher('start: "yes" | "no"')
    assert matcher.admitted(encode("yes"), dictate=False) == encode("yes")[:-1]


def test_what_is_dictated_stands_in_the_guess() -> None:
    schema = {"type": "object", "properties": {"goal": {"enum": ["find", "send"]}, "why": {"type": "string"}}}
    grammar = grammar_for(request(response_format=json_schema({**schema, "required": ["goal", "why"]})))
    assert grammar is not None
    matcher = vocabulary().grammars.matcher(grammar)
    for token in matcher.dictated():
        matcher.advance(token)
    text = vocabulary().tokenizer.decode(matcher.admitted(encode("send"), dictate=True))
    assert text.startswith('send", "why":'), text
    assert matcher.admitted(encode("send it"), dictate=True) == matcher.admitted(encode("send"), dictate=True)


@given(schemas, st.integers(0, 5), st.integers(1, 30), st.booleans())
@settings(max_examples=40, deadline=None)
def test_looking_ahead_leaves_no_trace(schema: dict[str, Any], seed: int, place: int, dictate: bool) -> None:
    grammar = grammar_for(request(response_format=json_schema(schema)))
    assert grammar is not None
    tokens = encode(walk(grammar, seed))
    matcher, untouched = (vocabulary().grammars.matcher(grammar) for _ in range(2))
    for token in tokens[:place]:
        for each in (matcher, untouched):
            if not each.complete:
                each.advance(token)
    admitted = matcher.admitted(tokens[place:], dictate)
    masks = allowed(matcher, admitted)
    assert matcher.dictated() == untouched.dictated()
    assert np.array_equal(allowed(matcher), allowed(untouched))
    for token in admitted:
        # This raises if the grammar does not accept the token. The mask may lack one that it accepts, such as '"}'
        # behind a character of several tokens: such a guess is not taken.
        untouched.advance(token)
    assert np.array_equal(masks, allowed(untouched))


def test_an_answer_in_words_can_have_a_forced_beginning_and_forbidden_texts() -> None:
    assert grammar_for(request()) is None
    opening = '```python\ndef f(x: "int") -> int:\n'
    bounded = grammar_for(request(flightloop={"opening": opening, "never": ["shell=True", " eval("]}))
    assert bounded is not None
    assert accepts(bounded, opening + "    return literal_eval(x)\n```")
    assert not accepts(bounded, opening + "    return eval(x)\n```")
    assert not accepts(bounded, opening + "    run(x, shell=True)\n```")
    assert not accepts(bounded, "```python\ndef g(x):\n    return 1\n```")
    free = grammar_for(request(flightloop={"never": ["os.system("]}))
    assert free is not None
    assert accepts(free, "Use subprocess, not os.system.")
    assert not accepts(free, "os.system(x)")


def test_bounds_of_words_do_not_hold_for_calls() -> None:
    asked = request(tools=[tool("find")], flightloop={"never": ["find"]})
    assert grammar_for(asked) == grammar_for(request(tools=[tool("find")]))
