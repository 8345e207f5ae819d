"""Spans of runs and completions: whose trace they belong to, what failed, and what they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from agent.models.answer_chunks import calls, text
from agent.testing.api import Said, api_deps
from flightloop.tool import ToolRefused, tool
from observability import semconv
from observability.trace_id import trace_id_of
from observability.tracing import RunIds, Tracing
from tests.agent.api.test_chat import USER, ask, calling

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CALLERS_TRACE, CALLERS_SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
TAKEN = "Somebody took it: jane@example.com"


@tool(effect="pure")
def find(order_id: int) -> str:
    """Finds an order."""
    if order_id < 0:
        raise ToolRefused(TAKEN)
    return "found"


class Traced:
    """A tracer whose finished spans are kept in memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(id_generator=RunIds(), shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def spans(self, name: str = "") -> Sequence[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name.startswith(name)]

    def words(self) -> str:
        return " ".join(span.to_json() for span in self.spans())


@pytest.fixture
def traced() -> Iterator[Traced]:
    made = Traced()
    yield made
    made.provider.shutdown()


async def test_a_run_belongs_to_its_callers_trace(make_bench: Callable[..., Any], traced: Traced) -> None:
    bench = make_bench([text("Done."), text("Done.")])
    bench.tracing = Tracing(traced.provider)
    own = await bench.work(await bench.start())
    joined = await bench.work(await bench.start(traceparent=CALLER))
    first, second = sorted(traced.spans("invoke_agent"), key=lambda span: span.context.trace_id == CALLERS_TRACE)
    assert (f"{first.context.trace_id:032x}", first.parent) == (trace_id_of(own.id), None)
    assert second.context.trace_id == CALLERS_TRACE
    assert second.parent is not None
    assert second.parent.span_id == CALLERS_SPAN
    assert {span.context.trace_id for span in traced.spans("chat")} == {first.context.trace_id, CALLERS_TRACE}
    assert trace_id_of(joined.id, joined.traceparent) == f"{CALLERS_TRACE:032x}"


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (CALLER, CALLER),
        ("nonsense", None),
        (CALLER.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32), None),
        (CALLER.replace("00-", "ff-"), None),
        (f"{CALLER}\u00e9", None),
        (None, None),
    ],
)
async def test_the_callers_header_is_kept_if_it_is_one(header: str | None, kept: str | None) -> None:
    async with calling(api_deps()) as client:
        headers = {"traceparent": header.encode()} if header else {}
        made = await client.post("/v1/runs", json={"agent": "support", "input": "hello"}, headers=headers)
        assert made.status_code == 201, made.text
        assert made.json()["traceparent"] == kept


async def test_a_failed_tool_is_an_error_without_its_words(make_bench: Callable[..., Any], traced: Traced) -> None:
    bench = make_bench([calls(("find", {"order_id": -1}), ("find", {"order_id": 1})), text("Done.")], [find])
    bench.tracing = Tracing(traced.provider)
    await bench.work(await bench.start())
    failed, fine = sorted(
        traced.spans("execute_tool"), key=lambda span: span.status.status_code is not StatusCode.ERROR
    )
    assert (failed.status.status_code, failed.attributes[semconv.ERROR_TYPE]) == (StatusCode.ERROR, "tool_error")
    assert fine.status.status_code is StatusCode.UNSET
    assert TAKEN not in failed.to_json()


@pytest.mark.parametrize("captured", [False, True])
async def test_content_of_runs_is_a_setting(make_bench: Callable[..., Any], traced: Traced, captured: bool) -> None:
    bench = make_bench([calls(("find", {"order_id": 4711})), text("It was ", "found.")], [find])
    bench.tracing = Tracing(traced.provider, captured)
    await bench.work(await bench.start("Where is it?"))
    assert ["Where is it?" in traced.words(), "4711" in traced.words(), "found." in traced.words()] == [captured] * 3
    if captured:
        _, second = traced.spans("chat")
        asked = json.loads(second.attributes[semconv.INPUT_MESSAGES])
        assert [message["role"] for message in asked] == ["system", "user", "assistant", "tool"]
        assert asked[2]["parts"][0]["arguments"] == {"order_id": 4711}
        assert asked[3]["parts"][0]["type"] == "tool_call_response"
        (answer,) = json.loads(second.attributes[semconv.OUTPUT_MESSAGES])
        assert answer["parts"] == [{"type": "text", "content": "It was found."}]
        (span,) = traced.spans("execute_tool")
        assert json.loads(span.attributes[semconv.TOOL_ARGUMENTS]) == {"order_id": 4711}


@pytest.mark.parametrize("captured", [False, True])
async def test_content_of_completions_is_a_setting(traced: Traced, captured: bool) -> None:
    said = Said("write to jane@example.com")
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    found = {"role": "tool", "tool_call_id": "c", "content": "the number is 4711"}
    asked = [*USER, {"role": "assistant", "tool_calls": [call]}, found]
    deps = api_deps(said, tracing=Tracing(traced.provider, captured), streaming="live")
    await ask(deps, messages=asked)
    assert ("4711" in traced.words(), "write to" in traced.words()) == (captured, captured)
    assert "jane@example.com" not in traced.words(), "a rail of the stream took it out"


async def test_a_completion_and_its_verdicts_belong_to_its_callers_trace(traced: Traced) -> None:
    await ask(api_deps(Said("all is unfit"), tracing=Tracing(traced.provider)), {"traceparent": CALLER}, n=2)
    first, second = traced.spans("chat")
    assert {span.context.trace_id for span in traced.spans()} == {CALLERS_TRACE}
    assert {span.parent.span_id for span in (first, second) if span.parent} == {CALLERS_SPAN}
    parents = {span.parent.span_id for span in traced.spans("guard") if span.parent}
    assert parents == {first.context.span_id, second.context.span_id}
