"""Error of measurements; its message says what to change."""

from __future__ import annotations


class BenchError(ValueError):
    """A measurement that is not possible, or a page that can't take the figures."""
