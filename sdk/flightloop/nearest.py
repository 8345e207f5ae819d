"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """A suggestion such as ``did you mean keyed?``; empty if no known name is similar."""
    close = get_close_matches(name, list(known), most)
    return f"did you mean {' or '.join(close)}?" if close else ""
