"""Error raised by measurements; the message says what to change."""

from __future__ import annotations


class BenchError(ValueError):
    """A measurement is not possible or failed, or a page lacks the marks for the figures."""
