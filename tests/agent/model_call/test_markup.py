"""A call or a plan that a model writes as text is never shown; the model is told, and asked once more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api import ApiDeps, create_app
from agent.model_call.markup import CallAsText, Markup
from agent.models.answer_chunks import calls, text
from agent.testing.api import KEY, Said, ScriptedChat, api_deps
from flightloop.content import text_of
from flightloop.tool import tool

CALLS = [
    '<tool_call>[{"name": "find", "arguments": {}}]</tool_call>',
    '<tool_call">[{"name": "find"',
    "Let me look. <tool_call>",
    '{"name": "find", "arguments": {"order": 7}}',
    '[{"name": "find", "parameters": {}}]',
    '```json\n{"name": "find", "arguments": {}}\n```',
    '{"type": "function", "function": {"name": "find", "arguments": "{}"}}',
    '{"goal": "find the order", "tools": ["find"]}',
    '<function=find>{"order": 7}</function>',
    '[TOOL_CALLS] [{"name": "find", "arguments": {}}]',
    '<|python_tag|>{"name": "find", "parameters": {}}',
]
CALLS += [
    '{"name": "find", "arguments": ',
    '<tool_ call>[{"name": "renew_loan", "arguments": {}}]</tool_ call>',
    '< tool_call >[{"name": "renew_loan"}]',
    "<TOOL_CALL>",
    "<tool call>",
    "<tool-call>",
    "<function_call>",
    "<tool_code>renew_loan(loan_id=501)</tool_code>",
    '<invoke name="renew_loan">',
    "&lt;tool_call&gt;",
    "renew_loan(loan_id=501)",
    "[renew_loan(loan_id=501)]",
    'functions.renew_loan({"loan_id": 501})',
    "to=functions.renew_loan {}",
    'Action: renew_loan\nAction Input: {"loan_id": 501}',
    'Sure! {"name": "renew_loan", "arguments": {}}',
    'Sending {"name": "get_order", "arguments": "7"} to the desk.',
    'Here is the call:\n```json\n{"name": "renew_loan"}\n```',
    '{"tool": "renew_loan", "loan_id": 501}',
    '{"action": "renew_loan", "action_input": {}}',
    '<tool>{"goal": "renew it", "tools": ["renew_loan"]}</tool>',
    "<tool>",
    "Wait. <tools>[",
    "<tool>{<tool>{",
    "</tool>",
    'Here is the plan: {"goal": "renew it", "tools": []}',
    'I would do this: "tools": ["renew_loan"]',
    "<call>renew_loan(loan_id=501)</call>",
    "I can help. <a_call>\n{'name': 'renew_loan', 'arguments': {'loan_id': 501}}\n</a_call>",
    "So: < action > functions.renew_loan(501)",
    '<plan>{"goal"',
    '>{"goal"："Find the order","tools":(["find"]}',
    '>{"goal" "Refund it", "tools": "find"]}',
    'error: no. ｛"goal"：',
    'So: "tools"：(["find"]',
    '<|python_tag>{"name": "Llama", "arguments": {}}',
]
MARK = re.compile(r"<[\s/|]{0,3}tool[\s_]?call|\[TOOL_CALLS?\]", re.IGNORECASE)
PLAIN = [
    "I can renew_loan for you, or renew it by hand.",
    "Call renew_loan(501) in your program.",
    "To renew, say so. Actions: none.",
    'The field "name" is "Anna".',
    "Take action: renew.",
    "Your order was sent.",
    '{"total": 12, "currency": "EUR"}',
    "[1, 2, 3]",
    "Prices: [see here] <b>bold</b> a < b",
    '```json\n{"name": "Anna", "age": 7}\n```',
    "",
    "<",
    "{",
    "`",
    "I call it a tool_call, you may not.",
    "<tooltip>Renewed</tooltip> and <action>go</action>",
    "My goal: {a, b}. The tools are ready.",
    "<plan>first this</plan>",
]


def screened(answer: str, size: int, *, json_wanted: bool = False) -> str:
    markup = Markup(["find", "renew_loan"], json_wanted=json_wanted)
    pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
    return "".join([*map(markup.push, pieces), markup.finish()])


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("answer", CALLS)
def test_calls_and_plans_are_found(answer: str, size: int) -> None:
    with pytest.raises(CallAsText):
        screened(answer, size)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("answer", PLAIN)
def test_other_answers_stay_as_they_are(answer: str, size: int) -> None:
    assert screened(answer, size) == answer


@pytest.mark.parametrize("answer", CALLS)
def test_json_that_was_asked_for_may_be_anything(answer: str) -> None:
    assert screened(answer, 1, json_wanted=True) == answer


@given(st.text("<tol_ca>|[]TOLAS`{} x", max_size=40), st.integers(1, 5))
def test_nothing_of_a_marker_is_released_and_nothing_else_is_lost(answer: str, size: int) -> None:
    try:
        assert screened(answer, size) == answer
    except CallAsText:
        assert MARK.search(answer)
    markup, released = Markup(json_wanted=False), ""
    for start in range(0, len(answer), size):
        try:
            released += markup.push(answer[start : start + size])
        except CallAsText:
            break
    assert not MARK.search(released)


@pytest.mark.parametrize(
    "answer", ["<", "<tool", "<tool_cal", '{"name": "find", "arg', '[{"name"', '```json\n{"goal": "f']
)
def test_half_a_call_is_dropped_where_the_answer_was_cut(answer: str) -> None:
    markup = Markup(json_wanted=False)
    assert markup.push(answer) + markup.finish(cut=True) == ""


def test_plain_text_is_not_held_back() -> None:
    markup, words = Markup(json_wanted=False), ["Your ", "order ", "was ", "sent."]
    assert [markup.push(word) for word in words] == words


def test_a_long_document_that_begins_as_json_is_released_in_the_end() -> None:
    document = json.dumps({"rows": ["x" * 100] * 200})
    assert screened(document, 50) == document


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    "answer",
    [
        '{"goal": "one, two"}',
        '<b>{"goal": "add 2, 3", "tools": ["add"]}',
        'Well: {"goal',
        '[{"goal": "a", "tools": []}]',
    ],
)
def test_plans_are_found_where_no_tool_is_offered(answer: str, size: int) -> None:
    markup, released = Markup(json_wanted=False), ""
    try:
        for start in range(0, len(answer), size):
            released += markup.push(answer[start : start + size])
        released += markup.finish(cut=True)
    except CallAsText:
        pass
    assert "goal" not in released


async def test_a_plan_that_a_stop_text_cut_does_not_leave() -> None:
    deps = api_deps(Said('{"goal": "one', finish_reason="stop"))
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        body = {"model": "scripted", "messages": [{"role": "user", "content": "go"}], "stop": ","}
        answer = await client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"})
    assert "goal" not in answer.text


# -- runs -----------------------------------------------------------------------------------------


@tool(effect="pure")
def find() -> str:
    """Finds an order."""
    return "sent"


@tool(effect="pure")
def renew_loan(loan_id: int) -> str:
    """Renews a loan."""
    return "renewed"


@pytest.mark.parametrize("answer", CALLS)
async def test_a_run_asks_the_model_again(make_bench: Callable[..., Any], answer: str) -> None:
    bench = make_bench([text(*answer), calls(("find", {})), text("It was sent.")], [find, renew_loan])
    run = await bench.work(await bench.start())
    assert (run.status, text_of(run.output)) == ("succeeded", "It was sent.")
    assert "could not be used" in bench.model.requests[1].messages[-1].text
    told = " ".join(event.model_dump_json() for event in await bench.events(run))
    assert json.dumps(answer)[1:-1] not in told


async def test_a_run_whose_model_goes_on_so_fails(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text(CALLS[0]), text(CALLS[3])], [find])
    run = await bench.work(await bench.start())
    assert (run.status, run.error.code, run.output) == ("failed", "invalid_call", None)


# -- completions ----------------------------------------------------------------------------------


async def ask(deps: ApiDeps, **fields: Any) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        body = {"model": "scripted", "messages": [{"role": "user", "content": "Where is it?"}], **fields}
        return await client.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize("streaming", ["held", "live"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_completion_asks_the_model_again(streaming: str, stream: bool) -> None:
    deps = api_deps(Said('{"name": "find", "arguments": {}}'), Said("It was sent."), streaming=streaming)
    answer = await ask(deps, stream=stream, temperature=0)
    assert answer.status_code == 200
    assert "It was sent." in answer.text.replace('"},"finish_reason":null}]}\n\n', "") or "sent" in answer.text
    assert "arguments" not in answer.text
    assert isinstance(deps.model, ScriptedChat)
    assert "could not be used" in deps.model.requests[1].messages[-1].text
    assert answer.text.count('"role":"assistant"') == 1


async def test_without_tools_the_same_is_drawn_again() -> None:
    """What the model is told then would only be repeated to whoever asked."""
    deps = api_deps(Said('{"name": "find", "arguments": {}}'), Said("It was sent."))
    assert (await ask(deps, seed=7)).json()["choices"][0]["message"]["content"] == "It was sent."
    assert isinstance(deps.model, ScriptedChat)
    first, second = deps.model.requests
    assert (first.seed, second.seed, second.messages) == (7, None, first.messages)


async def test_the_final_rails_judge_what_the_first_try_has_shown() -> None:
    words = "unfit " + "and so on " * 40
    deps = api_deps(Said(f"{words}<tool_call>"), Said("Never mind."), streaming="live")
    choice = (await ask(deps)).json()["choices"][0]
    assert choice["message"]["content"].startswith("unfit")
    assert choice["finish_reason"] == "content_filter"


async def test_a_completion_whose_model_goes_on_so_fails() -> None:
    deps = api_deps(Said('{"name": "find", "arguments": {}}'))
    refused = await ask(deps)
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "invalid_call")


@pytest.mark.parametrize("arguments", ['{"a": 1', "{", ""])
async def test_a_call_that_its_limit_cut_ends_with_length_and_is_not_told(arguments: str) -> None:
    tools = [{"type": "function", "function": {"name": "add"}}]
    deps = api_deps(Said(calls=[("add", "{}"), ("add", arguments)], finish_reason="length"))
    choice = (await ask(deps, tools=tools)).json()["choices"][0]
    told = [call["function"]["arguments"] for call in choice["message"].get("tool_calls") or []]
    assert (choice["finish_reason"], told) == ("length", ["{}"] if arguments else ["{}", "{}"])
