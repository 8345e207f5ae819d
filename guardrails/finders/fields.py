"""Finds names of fields in texts without structure, and reads the values that follow them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import regex

from guardrails.text.normalise import unescaped

LONGEST = 200
"""Longest value that is read, in characters. It is also the longest id of a subject."""
_GLUED = r"[\w--[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]]"
"""Characters that continue a word. Scripts without blanks between words are left out."""
_QUOTES = r"[\\\"'`*]*+"
_VALUE = rf"[^\s\\\"'`,;)\]}}|]{{0,{LONGEST}}}+"
_ASSIGNED = regex.compile(
    rf"{_QUOTES}\s*+(?:[:=：＝]++>?|->|→)\s*+{_QUOTES}(?P<open>[\[({{]?+)\s*+{_QUOTES}(?P<value>{_VALUE})"
)
_BARE = regex.compile(
    rf"(?:[ \t]++(?:is|no|nr|number)\b\.?+){{0,2}}+[ \t]*+(?:#[ \t]*+)?+(?P<open>)(?P<value>(?=[^\s,;]*[\d@]){_VALUE})",
    regex.I,
)
"""A value without a sign before it: a word with a digit or an @."""
_ENDED = regex.compile(r"[\s\\\"'`,;)\]}|]|$")
_CLOSED = regex.compile(rf"{_QUOTES}\s*+[\])}}]")
_CLOSERS = regex.compile(r"[\\\"'`*\s\])}]*+")
_KEY = r"(?![^\W\d][\w.-]*+[\\\"'`]*+\s*+[:=：])"
_NEXT = regex.compile(
    r"(?:\s*+(?:[,;/|&+、，；]|(?:and|or|und|oder)\b|和|或)\s*+[\\\"'`\[({#]*+"
    r"|[ \t]++(?=[\\\"'`\[({#]{0,4}\d)[\\\"'`\[({#]*+"
    rf"|[ \t\r]*+\n\s*+(?:[-*]\s*+)?(?=[^\s,;]++[,;]?\s*(?:\n|$))){_KEY}(?P<next>[^\s\\\"'`,;)\]}}|]++)",
    regex.I,
)
"""A further value in a list: after a separator, a blank, or on a line of its own. A name with a colon is none."""
_NEAR = 200
"""Characters beside a name that tell whether it stands in a sentence."""
_WORD_BEFORE = regex.compile(r"(?:[^\W\d_][\w'’-]*[.,;:!?)]?[ ]|\p{Han})$")
_WORD_AFTER = regex.compile(r"[.,;:!?)]?[ ][^\W\d_]|\p{Han}")
_CELL_BEFORE, _CELL_AFTER = regex.compile(r"[,;]$"), regex.compile(r"[,;]\S")
_SENTENCE_END = (".", "!", "?", "。", "！", "？")
_WHOLE = regex.compile(r"0|[1-9][0-9]{0,14}")
_EXPLAINED = regex.compile(
    rf"{_QUOTES}: (?:(?:Input|String|Value|List|Dictionary|Decimal) should |Field required|Missing required "
    r"|Unexpected keyword |Extra inputs are not permitted)"
)
"""Pydantic's messages about a wrong argument, as they occur in the platform's errors."""


@dataclass(frozen=True)
class Mention:
    """A name of a field in a text."""

    name: str
    """In lower case."""
    value: str | int | None
    """The only value that the text gives for it. None: none, several, or one that can't be read."""
    prose: bool
    """Whether it is a word of a sentence, or explained by a message of the platform, and has no value."""


class FieldNames:
    """Names of fields, which are found as whole identifiers: ``id`` is neither in ``did`` nor in ``order_id``."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.casefold() for name in names)
        whole = "|".join(_whole(name) for name in sorted(self._names, key=len, reverse=True))
        self._pattern = regex.compile(whole, regex.IGNORECASE | regex.V1)

    def may_stand_in(self, text: str) -> bool:
        """Whether a text contains a name in any way, or escapes that may spell one."""
        folded = text.casefold()
        return any(name in folded for name in self._names) or "\\u" in text

    def named(self, key: str) -> str | None:
        """The name that a key or the head of a column has, such as ``customers.customer_id``; None: none of these."""
        plain = key.strip().casefold()
        return next((one for one in (plain, plain.rpartition(".")[2]) if one in self._names), None)

    def mentions(self, text: str) -> Iterator[Mention]:
        """Yields the names in a text, each with its value."""
        text = unescaped(text)
        for found in self._pattern.finditer(text):
            assigned = _ASSIGNED.match(text, found.end())
            read = assigned or _BARE.match(text, found.end())
            value = _value(text, read) if read else None
            explained = _EXPLAINED.match(text, found.end()) is not None
            prose = explained or (read is None and _is_prose(text, found.start(), found.end()))
            yield Mention(found.group().casefold(), None if explained else value, prose)


def _whole(name: str) -> str:
    before = rf"(?<!{_GLUED})" if regex.match(_GLUED, name[0], regex.V1) else ""
    after = rf"(?!{_GLUED})" if regex.match(_GLUED, name[-1], regex.V1) else ""
    return before + regex.escape(name) + after


def _value(text: str, read: regex.Match[str]) -> str | int | None:
    end = read.end()
    if not _ENDED.match(text, end) or (read["open"] and not _CLOSED.match(text, end)):
        return None
    value = read["value"].rstrip(".!?:")
    further = _NEXT.match(text, _CLOSERS.match(text, end).end()) or _NEXT.match(text, end)  # type: ignore[union-attr]
    if further and (_has_digit(further["next"]) or not _has_digit(value)):
        return None
    return int(value) if _WHOLE.fullmatch(value) else value


def _has_digit(value: str) -> bool:
    return any(sign.isdigit() or sign == "@" for sign in value)


def _is_prose(text: str, start: int, end: int) -> bool:
    """Whether a name is a word among others on a line that is a sentence, and not the head of a column."""
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end) % (len(text) + 1)
    before, after = text[max(first, start - _NEAR) : start], text[end : min(last, end + _NEAR)]
    if "|" in before + after or "\t" in before + after or _CELL_BEFORE.search(before) or _CELL_AFTER.match(after):
        return False
    is_line = text.find("\n", 0, first) >= 0 or last < len(text)
    if is_line and not text[max(end, last - 5) : last].rstrip("\r \"'”)").endswith(_SENTENCE_END):
        return False
    return _WORD_BEFORE.search(before) is not None or _WORD_AFTER.match(after) is not None
