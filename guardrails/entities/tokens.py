"""Tokens of a segment: words, numbers, Chinese and Japanese characters, and signs. They never split a grapheme."""

from __future__ import annotations

from collections.abc import Iterator

import regex

_CJK = r"[\p{Han}\p{Hiragana}\p{Katakana}]"
_ASCII = regex.compile(
    r"\d+(?:[.,:/\-]\d+)*(?![A-Za-z_])|'s(?![A-Za-z])|[A-Za-z\d_]+(?:'(?!s(?![A-Za-z]))[A-Za-z]+)*|\n|\S"
)
_DIGITS, _WORD = r"(?:(?=\d)\X)+", rf"(?:(?=\w)(?!{_CJK})\X)+"
_ANY = regex.compile(
    rf"{_DIGITS}(?:[.,:/\-](?=\d){_DIGITS})*(?!\w)|(?=['’]s(?!\w))\X\X|{_WORD}(?:['’](?=\p{{L}})(?!s(?!\w)){_WORD})*|\X"
)


def tokens(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields the tokens [begin, end) of a segment. A line break is a token; other blanks are not."""
    pattern = _ASCII if text[start:end].isascii() else _ANY
    for match in pattern.finditer(text, start, end):
        if not (token := match.group()).isspace() or "\n" in token:
            yield match.start(), match.end()
