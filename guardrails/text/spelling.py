"""Ways to write a character in Markdown and HTML (literal, escaped, as a character reference), and normalised texts."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from html import unescape
from html.entities import html5

import regex

BLANKS = frozenset(map(chr, range(1, 33))) | {chr(code) for code in range(0x10000) if chr(code).isspace()} | {"\ufeff"}
"""Characters that some renderers strip from both ends of a link target: controls and all whitespace of Unicode and
JavaScript."""
GROWTH = 6
"""Maximum number of characters that one character becomes in `compatible`."""
FORMULAS = "\ufdfa\ufdfb"
"""Characters that NFKC expands to 18 and 8 characters. `compatible` keeps them, to limit how much a text grows."""
_JOINS = r"[\p{M}\u1160-\u11ff\u3131-\u318e\uff9e-\uffdc]"
"""Characters that may combine or change places with the character before them."""
_PIECES = regex.compile(rf"[{FORMULAS}]+|[^{FORMULAS}]{{1,256}}{_JOINS}{{0,64}}")
_ESCAPE = regex.compile(r"\\([!-/:-@\[-`{-~])")


def spelt(characters: Collection[str], *, escaped: bool = True) -> str:
    """Pattern that matches any spelling of one of the characters, ignoring case.

    Renderers differ: some remove backslashes before they decode references, and some need no semicolon.

    Args:
        escaped: the pattern includes a backslash before the character.
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
    """The text with Markdown's escapes and HTML's references decoded."""
    return unescape(_ESCAPE.sub(r"\1", text))


def compatible(text: str) -> str:
    """NFKC without `FORMULAS`, in linear time and space.

    Python needs quadratic time for the combining marks on one letter and holds the GIL meanwhile. Runs of more than
    some hundred marks are therefore split, as if they belonged to several letters.
    """
    pieces = (match.group() for match in _PIECES.finditer(text))
    return "".join(one if one[0] in FORMULAS else unicodedata.normalize("NFKC", one) for one in pieces)


def most_characters(text: str) -> int:
    """Upper bound on the length of a text in its comparable form, to estimate the work of a search."""
    return len(text) if text.isascii() else GROWTH * len(text)
