"""Content in exported spans is masked; what can't be masked is left out."""

import json

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from observability import semconv
from observability.config import TracingConfig
from observability.masking import UNMASKED, MaskingExporter
from observability.tracing import Tracing, close, setup


def without_anna(text: str) -> str:
    return text.replace("Anna", "[person]")


def broken(text: str) -> str:
    raise OSError("no weights")


@pytest.mark.parametrize(
    ("mask", "said", "trace"),
    [(without_anna, "I am [person]", "ValueError: no [person]"), (broken, UNMASKED, UNMASKED)],
)
def test_content_and_tracebacks_are_masked_and_the_rest_stays(mask, said, trace):
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(MaskingExporter(kept, mask)))
    tracing = Tracing(provider, capture_content=True)
    with tracing.run("run_Anna", "support", "session"), tracing.tool("find", "call_1") as span:
        tracing.content(span, tool_arguments=lambda: "I am Anna")
        tracing.failed(span, "error", "ValueError: no Anna")
    tool, run = kept.get_finished_spans()
    assert tool.attributes[semconv.TOOL_ARGUMENTS] == said
    assert tool.attributes[semconv.TOOL_NAME] == "find"
    assert tool.events[0].attributes[semconv.EXCEPTION_STACKTRACE] == trace
    assert run.attributes[semconv.RUN_ID] == "run_Anna"
    assert tool.parent.span_id == run.context.span_id
    assert tool.status.description == "error"


def test_files_of_traces_hold_masked_content(tmp_path):
    provider = setup(TracingConfig(directory=tmp_path, capture_content=True, mask=without_anna))
    with Tracing(provider, capture_content=True).tool("find", "call_1") as span:
        span.set_attribute(semconv.TOOL_RESULT, "Anna's order")
    close(provider)
    (file,) = tmp_path.iterdir()
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["attributes"][semconv.TOOL_RESULT] == "[person]'s order"
