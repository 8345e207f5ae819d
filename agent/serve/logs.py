"""Logging: one line per event, to standard error or to a file shared by several processes."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from io import FileIO
from pathlib import Path
from typing import Any

import structlog

from agent.config import Settings
from flightloop import private
from flightloop.shown import shown
from guardrails.masked import masked_numbers

HALF = 2000
"""Characters that are kept of a library's record at its beginning and at its end; masking takes 5 ms for 1,000."""
MOST_RECORDS, WINDOW_S = 20, 10.0
"""Maximum number of records of one of a library's loggers in a window."""


def log_file(settings: Settings) -> Path:
    """Log file shared by a cluster's processes; Ray would write their standard error to its own folders."""
    return settings.home / "logs" / "flightloop.log"


def log_to_stderr(level: str) -> None:
    """Logs readable lines to a terminal, and JSON otherwise."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    _configure(level, renderer, lambda *_: structlog.PrintLogger(sys.stderr))  # looks sys.stderr up at each call
    _log_libraries(level)


def log_to_file(settings: Settings, process: str) -> FileIO | None:
    """Logs JSON lines that contain the name of the ``process``. Returns the file, which stays open.

    Falls back to standard error if the file can't be written, for example on another node.
    """
    file = log_file(settings)
    try:
        private.folder(file.parent)
        # Each line is a single write, so that lines of several processes don't mix.
        output = FileIO(file, "ab", opener=private.opener)
    except OSError as error:
        log_to_stderr(settings.log_level)
        structlog.get_logger(__name__).warning("the log cannot be written", file=str(file), problem=error.strerror)
        return None

    def named(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {"process": process, **event}

    renderer = structlog.processors.JSONRenderer(lambda event, **options: json.dumps(event, **options).encode())
    _configure(settings.log_level, renderer, structlog.BytesLoggerFactory(output), named)
    _log_libraries(settings.log_level)
    return output


def _log_libraries(level: str) -> None:
    """Logs the records of libraries to standard error, unless the process does so already."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LibraryFormatter(logging.BASIC_FORMAT))
    handler.addFilter(_Flood())
    logging.basicConfig(level=max(logging.WARNING, logging.getLevelName(level.upper())), handlers=[handler])


class _LibraryFormatter(logging.Formatter):
    """Records of libraries, which may quote what a server or a tool sent: without personal data, and as one entry. Its
    further lines are indented, so that none imitates another entry."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if len(text) > 2 * HALF:
            text = f"{text[:HALF]}… ({len(text) - 2 * HALF} characters) …{text[-HALF:]}"
        return shown(masked_numbers(text)).replace("\n", "\n    ")


class _Flood(logging.Filter):
    """Drops records of a logger beyond ``MOST_RECORDS`` in ``WINDOW_S``: a library logs each mistake of a server."""

    def __init__(self) -> None:
        super().__init__()
        self._began = 0.0
        self._records: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._began > WINDOW_S:
            self._began, self._records = now, Counter()
        self._records[record.name] += 1
        if self._records[record.name] == MOST_RECORDS:
            record.msg, record.args = f"{record.getMessage()} (further records are dropped for {WINDOW_S:g} s)", ()
        return self._records[record.name] <= MOST_RECORDS


def _without_personal_data(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Errors may quote what a tool or a server was sent, which may steer a terminal, too."""
    return {key: shown(masked_numbers(value)) if isinstance(value, str) else value for key, value in event.items()}


def _configure(
    level: str, renderer: structlog.typing.Processor, factory: Any, *more: structlog.typing.Processor
) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            _without_personal_data,
            *more,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=factory,
    )
