"""Characters as Markdown and HTML may write them: plain, escaped, by number or by name; texts as they are compared."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from html import unescape
from html.entities import html5

import regex

BLANKS = frozenset(map(chr, range(1, 33))) | {chr(code) for code in range(0x10000) if chr(code).isspace()} | {"\ufeff"}
"""What some reader takes off both ends of a target: controls and all that Unicode and JavaScript call blank."""
GROWTH = 6
"""Characters that one becomes at most in `compatible`."""
FORMULAS = "\ufdfa\ufdfb"
"""Whole sentences as one sign, of 18 and 8 characters: a text of them alone would be so many times as long."""
_JOINS = r"[\p{M}\u1160-\u11ff\u3131-\u318e\uff9e-\uffdc]"
"""What may become one with the character before it, or change places with one."""
_PIECES = regex.compile(rf"[{FORMULAS}]+|[^{FORMULAS}]{{1,256}}{_JOINS}{{0,64}}")
_ESCAPE = regex.compile(r"\\([!-/:-@\[-`{-~])")


def spelt(characters: Collection[str], *, escaped: bool = True) -> str:
    """A pattern of one of the characters, however it is written, in any case.

    Readers differ: some take backslashes off before they read references, and some need no semicolon.

    Args:
        escaped: a backslash may stand before it, which the pattern then takes as a part of it.
    """
    codes = sorted({ord(case) for one in characters for case in (one.lower(), one.upper())})
    decimal, hexadecimal = ("|".join(format(code, base) for code in codes) for base in "dx")
    names = sorted({name.removesuffix(";") for name, value in html5.items() if value in characters}, reverse=True)
    numbers = rf"\\?\#(?:0*(?:{decimal})(?!\d)|x0*(?:{hexadecimal})(?![\da-f]))"
    plain = "".join(map(regex.escape, characters))
    before = r"\\?" if escaped else ""
    escape = "" if all(one.isalnum() for one in characters) else before
    return rf"(?:{escape}[{plain}]|{before}&(?:{'|'.join([numbers, *names])})(?:\\?;)?)"


def as_read(text: str) -> str:
    """The text without Markdown's escapes and HTML's references."""
    return unescape(_ESCAPE.sub(r"\1", text))


def compatible(text: str) -> str:
    """NFKC, in which `FORMULAS` stay as they are, in time and space that grow with the text.

    Python takes the square of the marks that stand on one letter, in which no other thread runs: beyond some hundred
    they are taken for several letters' marks.
    """
    pieces = (match.group() for match in _PIECES.finditer(text))
    return "".join(one if one[0] in FORMULAS else unicodedata.normalize("NFKC", one) for one in pieces)


def most_characters(text: str) -> int:
    """That a search reads of a text which is compared."""
    return len(text) if text.isascii() else GROWTH * len(text)
