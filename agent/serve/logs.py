"""Logs: one line an event, on standard error or in a file that several processes append to."""

from __future__ import annotations

import json
import logging
import sys
from io import FileIO
from pathlib import Path
from typing import Any

import structlog

from agent.config import Settings
from flightloop import private


def log_file(settings: Settings) -> Path:
    """Where the processes of a cluster write: what they say on standard error ends in Ray's own folders."""
    return settings.home / "logs" / "flightloop.log"


def log_to_stderr(level: str) -> None:
    """For people on a terminal, and as JSON elsewhere."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    _configure(level, renderer, lambda *_: structlog.PrintLogger(sys.stderr))  # what it is by then
    logging.basicConfig(level=max(logging.WARNING, logging.getLevelName(level.upper())), stream=sys.stderr)


def log_to_file(settings: Settings, process: str) -> FileIO | None:
    """JSON, each line with the ``process`` that wrote it. Returns the file, open as long as this process logs to it.

    Where it can't be written, as perhaps on another node of a cluster, standard error takes its place.
    """
    file = log_file(settings)
    try:
        private.folder(file.parent)
        # A line is one write, so that those of several processes don't mix.
        output = FileIO(file, "ab", opener=private.opener)
    except OSError as error:
        log_to_stderr(settings.log_level)
        structlog.get_logger(__name__).warning("the log cannot be written", file=str(file), problem=error.strerror)
        return None

    def named(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {"process": process, **event}

    renderer = structlog.processors.JSONRenderer(lambda event, **options: json.dumps(event, **options).encode())
    _configure(settings.log_level, renderer, structlog.BytesLoggerFactory(output), named)
    return output


def _configure(
    level: str, renderer: structlog.typing.Processor, factory: Any, *more: structlog.typing.Processor
) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            *more,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=factory,
    )
