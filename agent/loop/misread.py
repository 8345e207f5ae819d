"""Values of a call that the user's words contradict: "two places", and the call has ``places: 1``.

Such a call is held back once, and the model makes it again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.loop.named_rows import Row, rather
from guardrails.text.quantities import quantities
from guardrails.text.times import time_of, times
from tools.knowledge.words import Word, placed_words, stem, terms

MISREAD = "not done yet: by the user's words,"


def misread(arguments: Mapping[str, Any], said: Sequence[str], lists: Sequence[Sequence[Row]]) -> str | None:
    """What the model is told of such a value; None: the call has none.

    Args:
        said: the user's messages, newest first.
        lists: what trusted tools have listed in this run.
    """
    for name, value in arguments.items():
        if (meant := _meant(name, value, said, lists)) is not None:
            # Without the call's own value, which the next call could otherwise take from this result.
            return f"{MISREAD} {name.replace('_', ' ')} is {meant}"
    return None


def _meant(name: str, value: Any, said: Sequence[str], lists: Sequence[Sequence[Row]]) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if (other := _row(name, value, said, lists)) is not None:
        return other
    if isinstance(value, str):
        return _time(value, said[0])
    counts = {number for text in _before(said[0], name) for number in quantities(text)}
    return f"{counts.pop():f}" if len(counts) == 1 and value not in counts else None


def _row(name: str, value: float | str, said: Sequence[str], lists: Sequence[Sequence[Row]]) -> str | None:
    if set(terms(str(value))) <= set(terms(said[0])):
        return None
    better = (rather(value, name, rows, said) for rows in lists)
    return next((str(one) for one in better if one is not None), None)


def _time(value: str, said: str) -> str | None:
    time, meant = time_of(value), times(said)
    if time is None or len(meant) != 1 or time in meant:
        return None
    return "{:02}:{:02}".format(*next(iter(meant)))


def _before(said: str, name: str) -> Iterator[str]:
    """The words that stand right before the name of an argument."""
    wanted = stem(name.lower())
    for one, other in itertools.pairwise(placed_words(said)):
        if other.stem == wanted and _adjoin(said, one, other):
            yield said[one.start : one.end]


def _adjoin(said: str, one: Word, other: Word) -> bool:
    return said[one.end : other.start].isspace()
