"""Numbers of a sentence that name something, and records that describe it."""

from __future__ import annotations

import regex

MONEY = regex.compile(
    r"(?:[€$£]|\b(?:EUR|USD|GBP))\s?(\d[\d.,]*\d|\d)"
    r"|(?<![\d.,])[.,]*+(\d[\d.,]*+)(?<=\d)\s?(?:[€$£]|(?:EUR|USD|GBP|euros?|dollars?|pounds?)\b)",
    regex.IGNORECASE,
)
"""Digits are matched only from the first one: starting at each digit takes quadratic time."""
_IDENTIFIER = regex.compile(
    r"(?<![\w.,:/€$£%+-])(?<!\d\s)#?(?!(?:19|20)\d\d\b)(\d{3,15})(?![\w:%€$£/+-]|[.,]\d|\s\d)"
    r"(?=\s*(?:[^\w\s]|$|(?:is|are|was|were|has|have|had|and|or|for|on|to|at|from|until|till|by|with|as|in|now|already|"
    r"successfully|too|also|again|instead)\b))",
    regex.IGNORECASE,
)
"""A number that identifies something: not part of a date, time or sum, and not a count ("350 points")."""
_ELSEWHERE = regex.compile(
    r"\b(?:call|dial|phone|ring|tel|ext|extension|hotline|room|page|gate|floor|street|box|zip|code|after|before|than|"
    r"instead\s+of|not|from|about|over|around|nearly|like|besides)\W+(?:(?:your|the|my|our|a)\s+)?(?:[a-z]{1,20}\s+)?#?$",
    regex.IGNORECASE,
)
"""Words directly before a number that identifies something other than the claim's object ("room 12")."""
RECORD = regex.compile(r"\{[^{}]*+\}")
"""A JSON object without nested objects. Results describe a single thing in this form."""


def identifiers(clause: str) -> frozenset[str]:
    """Identifying numbers in a clause, without leading zeros."""
    clause = MONEY.sub(lambda match: "€" * len(match.group()), clause)
    return frozenset(
        match[1].lstrip("0")
        for match in _IDENTIFIER.finditer(clause)
        if not _ELSEWHERE.search(clause[max(0, match.start() - 60) : match.start()])
    )
