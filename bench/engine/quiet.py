"""Keeps the engine's log out of a measurement's output."""

from __future__ import annotations

import logging
import sys

import structlog


def only_warnings() -> None:
    """Logs only warnings and errors of this process, to standard error."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # standard error at the time of logging
    )
