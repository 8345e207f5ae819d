"""Traces runs by OpenTelemetry's GenAI conventions. A run joins its caller's trace, or starts one derived from its id.

::

    invoke_agent {agent}
    ├── guard {stage}
    ├── plan
    │   └── chat {model}
    ├── chat {model}          (continued in the model's replica through ``traceparent``)
    └── execute_tool {tool}
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flightloop.runs import RunStatus
from flightloop.verdicts import Verdict
from observability import semconv
from observability.config import TracingConfig
from observability.masking import MaskingExporter
from observability.trace_file import FileSpanExporter
from observability.trace_id import trace_id_of

CLOSE_S = 1.5
_PROPAGATOR = TraceContextTextMapPropagator()


class RunIds(IdGenerator):
    """Generates random ids, except for traces of runs."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._next = threading.local()

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        return getattr(self._next, "trace_id", None) or self._random.generate_trace_id()

    @contextmanager
    def of_run(self, run_id: str) -> Iterator[None]:
        """Sets the trace id while a root span is started. There is no await inside, so a thread-local is enough."""
        self._next.trace_id = int(trace_id_of(run_id), 16)
        try:
            yield
        finally:
            self._next.trace_id = None


def setup(config: TracingConfig) -> TracerProvider:
    """Creates the configured tracer provider; ``untraced`` without a destination. Doesn't install it globally.

    Call ``close`` at the end of the process to export the remaining spans.
    """
    exporter = _exporter(config)
    if exporter is None:
        return untraced()
    provider = TracerProvider(
        resource=Resource.create({"service.name": config.service}), id_generator=RunIds(), shutdown_on_exit=False
    )
    if config.mask is not None:
        exporter = MaskingExporter(exporter, config.mask)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def close(provider: TracerProvider, within_s: float = CLOSE_S) -> None:
    """Exports the remaining spans, but waits only ``within_s`` seconds: a slow collector must not delay the exit."""
    closing = threading.Thread(target=provider.shutdown, name="tracing-close", daemon=True)
    closing.start()
    closing.join(within_s)


def untraced() -> TracerProvider:
    """A provider that creates no spans."""
    return TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)


def _exporter(config: TracingConfig) -> SpanExporter | None:
    if config.endpoint:
        endpoint = config.endpoint.rstrip("/")
        url = endpoint if endpoint.endswith("/v1/traces") else f"{endpoint}/v1/traces"
        return OTLPSpanExporter(endpoint=url, headers=dict(config.headers))
    if config.directory:
        return FileSpanExporter(config.directory, config.service, config.max_bytes, config.backups)
    return None


def traceparent() -> str | None:
    """The current span as a W3C header for another process; None outside of a span."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


class Tracing:
    """Creates flightloop's spans. Each method is a context manager that yields the span.

    An exception marks its span as failed and propagates.
    """

    def __init__(self, provider: TracerProvider, capture_content: bool = False) -> None:
        self._tracer = provider.get_tracer("flightloop")
        self._ids = provider.id_generator
        self._on = provider.sampler is not ALWAYS_OFF  # even a span that isn't recorded takes 30 µs
        self._capture_content = capture_content

    @contextmanager
    def run(
        self, run_id: str, agent: str, session_id: str, tenant_id: str = "default", parent: str | None = None
    ) -> Iterator[Span]:
        """Span of one worker's work on a run. A run that several workers held in turn has several in its trace.

        Args:
            parent: the caller's traceparent; None starts a root span.
        """
        if not self._on:
            yield INVALID_SPAN
            return
        attributes = {
            semconv.OPERATION: semconv.INVOKE_AGENT,
            semconv.AGENT_NAME: agent,
            semconv.CONVERSATION_ID: session_id,
            semconv.RUN_ID: run_id,
            semconv.TENANT_ID: tenant_id,
        }
        name = f"{semconv.INVOKE_AGENT} {agent}"
        context = _context_of(parent) or Context()
        with self._ids.of_run(run_id) if isinstance(self._ids, RunIds) else nullcontext():
            span = self._tracer.start_span(name, context, attributes=attributes)
        with trace.use_span(span, end_on_exit=True):
            yield span

    @contextmanager
    def chat(self, model: str, parent: str | None = None, remote: bool = False, **attributes: Any) -> Iterator[Span]:
        """Span of a completion. ``parent``: traceparent of a caller in another process; ``remote``: the model is
        called over the network."""
        known = {
            semconv.OPERATION: semconv.CHAT,
            semconv.REQUEST_MODEL: model,
            semconv.PROVIDER: "flightloop",
            **attributes,
        }
        kind = SpanKind.CLIENT if remote else SpanKind.INTERNAL
        with self._span(f"{semconv.CHAT} {model}", known, kind, _context_of(parent)) as span:
            yield span

    @contextmanager
    def tool(self, tool: str, call_id: str, **attributes: Any) -> Iterator[Span]:
        known = {
            semconv.OPERATION: semconv.EXECUTE_TOOL,
            semconv.TOOL_NAME: tool,
            semconv.TOOL_TYPE: "function",
            semconv.TOOL_CALL_ID: call_id,
            **attributes,
        }
        with self._span(f"{semconv.EXECUTE_TOOL} {tool}", known) as span:
            yield span

    def failed(self, span: Span, kind: str, traceback: str | None = None) -> None:
        """Marks a tool's span as failed.

        Args:
            kind: kind of failure, such as ``timeout``.
            traceback: traceback in the tool, each exception on an unindented line (``tools.tracebacks``). Messages may
                contain personal data, so only exception names are kept unless content capture is on.
        """
        fail(span, kind)
        if traceback:
            raised = traceback.rpartition("\n")[2].partition(":")[0]
            told = traceback if self._capture_content else _without_messages(traceback)
            span.add_event(
                semconv.EXCEPTION_EVENT, {semconv.EXCEPTION_TYPE: raised, semconv.EXCEPTION_STACKTRACE: told}
            )

    def judged(
        self, stage: str, policy_version: str, began_ns: int, verdicts: Sequence[Verdict], parent: str | None = None
    ) -> None:
        """Records a finished check of the guard, with its verdicts.

        A check whose verdicts are all unremarkable creates no span: there are ten such checks per call, and the journal
        has their times.

        Args:
            began_ns: start in nanoseconds since 1970.
            parent: traceparent of the checked step, if no span is open.
        """
        if not self._on or all(verdict.plain for verdict in verdicts):
            return
        known = {semconv.GUARDRAIL_STAGE: stage, semconv.GUARDRAIL_POLICY_VERSION: policy_version}
        context = None if trace.get_current_span().get_span_context().is_valid else _context_of(parent)
        span = self._tracer.start_span(f"{semconv.GUARD} {stage}", context, attributes=known, start_time=began_ns)
        for verdict in verdicts:
            _add_verdict(span, verdict)
        span.end()

    def content(self, span: Span, **attributes: Callable[[], str]) -> None:
        """Sets attributes with personal data, by lower-case name in ``semconv``. Computed only if content capture is
        on."""
        if self._capture_content and span.is_recording():
            span.set_attributes({getattr(semconv, name.upper()): value() for name, value in attributes.items()})

    @contextmanager
    def _span(
        self,
        name: str,
        attributes: Mapping[str, Any],
        kind: SpanKind = SpanKind.INTERNAL,
        context: Context | None = None,
    ) -> Iterator[Span]:
        if not self._on:
            yield INVALID_SPAN
            return
        kept = {
            key: value
            for key, value in attributes.items()
            if value is not None and (self._capture_content or key not in semconv.CONTENT)
        }
        with self._tracer.start_as_current_span(name, context, kind, kept) as span:
            yield span


def _without_messages(traceback: str) -> str:
    return "\n".join(line if line.startswith(" ") else line.partition(":")[0] for line in traceback.splitlines())


def _add_verdict(span: Span, verdict: Verdict) -> None:
    """Adds a verdict to the guard's span as an event, and its scores as evaluations."""
    span.add_event(
        "flightloop.guardrail",
        {
            semconv.GUARDRAIL_NAME: verdict.rail,
            semconv.GUARDRAIL_STAGE: verdict.stage,
            semconv.GUARDRAIL_VERDICT: verdict.action,
        },
    )
    for category, score in verdict.scores.items():
        add_evaluation(span, f"{verdict.rail}.{category}", score, verdict.action)


def add_evaluation(span: Span, name: str, score: float, label: str = "") -> None:
    """Adds a quality score (confidence, groundedness, toxicity) as the conventions' evaluation event."""
    known: dict[str, str | float] = {semconv.EVALUATION_NAME: name, semconv.EVALUATION_SCORE: score}
    if label:
        known[semconv.EVALUATION_LABEL] = label
    span.add_event(semconv.EVALUATION_EVENT, known)


def add_usage(span: Span, model: str, input_tokens: int, output_tokens: int, finish_reason: str | None) -> None:
    """Adds a completion's usage to its span."""
    span.set_attributes(
        {
            semconv.RESPONSE_MODEL: model,
            semconv.USAGE_INPUT_TOKENS: input_tokens,
            semconv.USAGE_OUTPUT_TOKENS: output_tokens,
            **({semconv.RESPONSE_FINISH_REASONS: [finish_reason]} if finish_reason else {}),
        }
    )


def end_run(span: Span, status: RunStatus, stop_reason: str) -> None:
    """Adds a run's end to its span; a failed run's span is an error."""
    if status is RunStatus.FAILED:
        fail(span, stop_reason)


def fail(span: Span, error_type: str) -> None:
    """Marks a span as failed, with an error type instead of the message, which may contain personal data."""
    span.set_attribute(semconv.ERROR_TYPE, error_type)
    span.set_status(Status(StatusCode.ERROR, error_type))


def _context_of(traceparent: str | None) -> Context | None:
    return _PROPAGATOR.extract({"traceparent": traceparent}) if traceparent else None
