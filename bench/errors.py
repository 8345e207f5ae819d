"""What a measurement refuses; the message says what to change."""

from __future__ import annotations


class BenchError(ValueError):
    """A request that can't be measured, or a page that can't take the figures."""
