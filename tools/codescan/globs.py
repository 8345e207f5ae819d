"""Patterns of dotted names: ``*`` stands for any characters, and a name without a dot matches as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache


@cache
def compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression that matches what any of the patterns does."""
    return re.compile("|".join(re.escape(one).replace(r"\*", ".*") for one in patterns) or r"(?!)")


def matches(patterns: tuple[str, ...], names: Iterable[str]) -> bool:
    """Whether a pattern matches one of the names."""
    fits = compiled(patterns).fullmatch
    return any(fits(name) is not None for name in names)
