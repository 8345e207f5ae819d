"""Writes spans as JSON lines to a file rotated by size, for traces without a collector."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import BufferedWriter
from pathlib import Path
from threading import Lock
from typing import Literal

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from flightloop import private


class FileSpanExporter(SpanExporter):
    """Writes one file per process (``SERVICE-PID.jsonl``).

    Args:
        directory: created if missing, readable by its owner only.
        service: first part of the file's name.
        max_bytes: size at which a file is rotated to ``.1``, ``.2`` …
        backups: number of rotated files to keep.
    """

    def __init__(self, directory: Path, service: str, max_bytes: int, backups: int) -> None:
        private.folder(directory)
        self.path = directory / f"{service}-{os.getpid()}.jsonl"
        self._max_bytes = max_bytes
        self._backups = backups
        self._lock = Lock()
        self._file = self._opened("ab")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._lock:
            if self._file.closed:
                return SpanExportResult.FAILURE
            for span in spans:
                line = span.to_json(indent=None).encode() + b"\n"
                if self._file.tell() and self._file.tell() + len(line) > self._max_bytes:
                    self._rotate()
                self._file.write(line)
            self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        with self._lock:
            self._file.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True  # every export is flushed

    def _rotate(self) -> None:
        self._file.close()
        names = [self.path, *(self.path.with_suffix(f".jsonl.{index + 1}") for index in range(self._backups))]
        for older, newer in reversed(list(zip(names[1:], names[:-1], strict=True))):
            if newer.exists():
                newer.replace(older)
        self._file = self._opened("wb")

    def _opened(self, mode: Literal["ab", "wb"]) -> BufferedWriter:
        return open(self.path, mode, opener=private.opener)
