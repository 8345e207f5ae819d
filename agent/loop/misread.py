"""Arguments of a call that the user's words contradict, or can't both be meant by: "two places", and the call has
``places: 1``; "3 boxes", and it has ``box_id: 3, count: 3``.

A count or a time of day is told to the model once, which makes the call again. It stands in the user's words as it is
told, so it vouches for nothing that these do not. Whether a row of a list is the wrong one is a matter of wording
("cancel it, the lighthouse tour I still want"): there the user is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import regex

from agent.loop.named_rows import Row, rather
from guardrails.text.times import Time, time_of, times
from tools.knowledge.words import NUMBER_WORDS, stem, terms

LISTS = "lists"
"""Name of the check of rows, in place of a rail's."""
MOST_CHARACTERS = 2_000
"""Longer messages are not compared."""
_CONTRAST = regex.compile(
    r"\b(?:not|no(?!\.?\s*#?\d)|nor|never|without|except|but|instead|other|others|another|rather|keep|leave|unless|before|"
    r"nicht|kein\p{L}*|ohne|außer|sondern|ander\p{L}*|statt|anstatt|behalte\p{L}*)\b|n['’]t\b|[不别除另没而改]",
    regex.IGNORECASE,
)
"""Words with which a message may name what it does not want. It is not compared then. "No. 17" is none of them."""
_SHIFTED = regex.compile(
    r"\b(?:hours?|minutes?|mins?|after|later|earlier|early|from|since|until|till|by|utc|gmt|zone|stunden?|minuten?|vor|nach|"
    r"bis|ab)\b|[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]",
    regex.IGNORECASE,
)
"""Words with which a time that a message names may lead to another one, and writing in which none are told apart."""
_COUNT = regex.compile(
    rf"(?<![\w.,'’+-]|\b(?:{'|'.join(NUMBER_WORDS)}|half|a|of|in|within|every|each|last|next|past)\s)"
    rf"(?P<count>\d{{1,4}}|{'|'.join(NUMBER_WORDS)})\s+(?P<counted>\p{{L}}{{3,30}})\b",
    regex.IGNORECASE,
)
"""A number that stands alone, and what it counts."""
_IDENTIFIES = frozenset({"id", "no", "number", "code"})
"""Last words of the name of an argument that tells one thing from others."""


def misread(arguments: Mapping[str, Any], said: str) -> str | None:
    """What a count or a time of a call is by the user's latest message, such as ``places is 2``; None: none differs."""
    if _is_unclear(said):
        return None
    timed = [name for name, value in arguments.items() if isinstance(value, str) and time_of(value)]
    for name, value in arguments.items():
        meant = _count(name, value, said) or (_time(value, said) if timed == [name] else None)
        if meant is not None:
            return f"{name.replace('_', ' ')} is {meant}"
    return None


def taken_twice(arguments: Mapping[str, Any], said: Sequence[str]) -> list[str]:
    """Names of arguments that identify something by a number that another argument has, too, although the user's
    messages have it once at most: it is then meant for the other one.

    Args:
        said: the user's messages in the session, in any order.
    """
    numbers = {name: str(value).strip() for name, value in arguments.items() if not isinstance(value, bool)}
    used = Counter(numbers.values())
    found = [name for name in numbers if name.lower().rpartition("_")[2] in _IDENTIFIES]
    found = [name for name in found if numbers[name].isdecimal() and used[numbers[name]] > 1]
    return [name for name in found if sum(_mentions(numbers[name], one) for one in said) < 2]


def names_other_row(arguments: Mapping[str, Any], said: Sequence[str], lists: Sequence[Sequence[Row]]) -> bool:
    """Whether a value stands for a row of a list, and the user's messages name another row better.

    Args:
        said: newest first; an older one decides where newer ones name no row, or say what they do not want.
        lists: what trusted tools have listed in the session.
    """
    clear = [one for one in said if not _is_unclear(one)]
    named = {name: (value, _newer(value, clear)) for name, value in arguments.items()}
    return any(rather(value, name, rows, newer) for name, (value, newer) in named.items() for rows in lists)


def _newer(value: Any, said: Sequence[str]) -> list[str]:
    """The messages that are newer than the one that names a value itself; all of them if none does."""
    own = frozenset(terms(str(value)))
    return list(takewhile(lambda one: not own <= frozenset(terms(one)), said))


def _mentions(number: str, said: str) -> int:
    """How often a message has a number, in digits or as a word."""
    spelled = (word for word in regex.findall(r"\p{L}+", said.lower()) if NUMBER_WORDS.get(word) == float(number))
    return len(regex.findall(rf"(?<!\d){number}(?!\d)", said)) + sum(1 for _ in spelled)


def _is_unclear(said: str) -> bool:
    return len(said) > MOST_CHARACTERS or _CONTRAST.search(said) is not None


def _count(name: str, value: Any, said: str) -> str | None:
    """The only number before the plural in an argument's name, if the argument has another one."""
    wanted = name.lower().rpartition("_")[2]
    if isinstance(value, bool) or not isinstance(value, int | float) or not wanted.endswith("s"):
        return None
    found = [match for match in _COUNT.finditer(said) if stem(match["counted"].lower()) == stem(wanted)]
    counts = {NUMBER_WORDS.get(match["count"].lower()) or float(match["count"]) for match in found}
    plural = all(match["counted"].lower().endswith("s") for match in found)  # "one seat" may be any seat
    return f"{counts.pop():g}" if len(counts) == 1 and plural and value not in counts else None


def _time(value: str, said: str) -> str | None:
    """The only time of day in a message, if a value is another one."""
    meant = frozenset[Time]() if _SHIFTED.search(said) else times(said)
    return "{:02}:{:02}".format(*next(iter(meant))) if len(meant) == 1 and time_of(value) not in meant else None
