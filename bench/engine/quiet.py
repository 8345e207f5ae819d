"""Keeps the engine's log out of what a measurement prints."""

from __future__ import annotations

import logging
import sys

import structlog


def only_warnings() -> None:
    """From now on this process logs warnings and errors only, to standard error."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # what it is by then
    )
