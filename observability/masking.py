"""Masks personal data in spans before they are exported, in the exporter's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from observability import semconv

Mask = Callable[[str], str]
"""Replaces personal data in a text."""
UNMASKED = "[not recorded: it could not be masked]"
_IN_EVENTS = frozenset({semconv.EXCEPTION_STACKTRACE, "exception.message"})


class MaskingExporter(SpanExporter):
    """Passes spans on to another exporter, with the texts in their attributes and tracebacks masked.

    A text that can't be masked is left out.
    """

    def __init__(self, exporter: SpanExporter, mask: Mask) -> None:
        self._exporter = exporter
        self._mask = mask

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([self._masked(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _masked(self, span: ReadableSpan) -> ReadableSpan:
        attributes = self._values(span.attributes or {}, semconv.CONTENT)
        events = [
            Event(event.name, self._values(event.attributes or {}, _IN_EVENTS), event.timestamp)
            for event in span.events
        ]
        return ReadableSpan(
            name=span.name,
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=attributes,
            events=events,
            links=span.links,
            kind=span.kind,
            status=span.status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _values(self, attributes: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
        return {name: self._text(value) if name in names else value for name, value in attributes.items()}

    def _text(self, value: Any) -> str:
        try:
            return self._mask(str(value))
        except Exception:  # such as a missing file of weights
            return UNMASKED
