"""Removes invisible and direction-changing characters, and replaces disguised letters and digits by ASCII.

Characters that people read as they are stay: neither the 2 of ``x²`` nor the comma of a Chinese sentence changes.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import regex

from flightloop.verdicts import Action, Stage, Verdict
from guardrails.aside import aside
from guardrails.text.spelling import compatible
from guardrails.types import Checked, Judgement, Rail

_RANGES = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x061C, 0x061C),  # Arabic letter mark
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),  # Mongolian selectors
    (0x200B, 0x200B),  # zero width space
    (0x200E, 0x200F),  # direction marks
    (0x202A, 0x202E),  # direction embeddings and overrides
    (0x2060, 0x206F),  # word joiner, invisible operators, isolates
    (0x3164, 0x3164),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFDD0, 0xFDEF),  # noncharacters, as the last two of each plane
    (0xFFF0, 0xFFFC),  # annotations, and the place of an object
    (0x1BCA0, 0x1BCA3),  # shorthand controls
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),  # tags: invisible copies of ASCII
    *((plane + 0xFFFE, plane + 0xFFFF) for plane in range(0, 0x110000, 0x10000)),
)
_INVISIBLE = frozenset(chr(code) for first, last in _RANGES for code in range(first, last + 1))
_JOINERS = frozenset("\u200c\u200d\u20e3" + "".join(map(chr, range(0xFE00, 0xFE10))))
"""Joiners, selectors and the keycap. Behind other signs than `_JOINED` they only keep a number or a host from being
found."""
_JOINED = regex.compile(
    r"[\p{So}\p{Sk}\p{Mn}\p{Mc}\p{Cf}]|(?![\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}])\p{Lo}", regex.VERSION1
)
"""Emoji, marks, and letters of scripts such as Persian and Devanagari."""
_CONTROLS = frozenset(chr(code) for code in (*range(32), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r")

_SMUGGLED = re.compile("[\U000e0020-\U000e007e]{8,}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
"""Text in invisible characters: tags, of which a flag has up to six, or variation selectors."""

_ESCAPED = re.compile(
    # Matches only from the first backslash of a run: starting at each of them takes quadratic time.
    r"(?<!\\)(?:\\+r\\+n|(?P<pair>\\+u[dD][89abAB][0-9a-fA-F]{2}\\+u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\+u(?P<unit>[0-9a-fA-F]{4})|\\+(?P<sign>[nrtbf/\"]))"
)
_DIGIT = regex.compile(r"\d")
"""`regex` knows digits of newer scripts than Python does, whose ``int`` and ``Decimal`` raise on them."""
_SIGNS = {"n": "\n", "r": "\n", "t": " ", "b": " ", "f": " "}
_HALVES = ("d8", "d9", "da", "db", "dc", "dd", "de", "df")


class Visible:
    """Removes disguises from a text that arrives in pieces. The result doesn't depend on how the text is cut.

    Drops invisible characters and turns letters and digits of other shapes (full-width, ligatures, mathematical
    alphabets) into ASCII.
    """

    def __init__(self) -> None:
        self._before = ""

    def push(self, text: str) -> str:
        kept = []
        for character in text:
            if character in _INVISIBLE or character in _CONTROLS:
                continue
            if character in _JOINERS and not _JOINED.match(self._before):
                continue
            self._before = character if character.isascii() else _undisguised(character)
            kept.append(self._before)
        return "".join(kept)


@lru_cache(4096)
def _undisguised(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cn" and _DIGIT.match(character):
        return "\ufffd"
    plain = unicodedata.normalize("NFKC", character)
    letter = category.startswith("L") or category == "Nd"  # superscripts and fractions are other numbers
    return plain if letter and plain.isascii() and plain.isalnum() else character


def visible(text: str) -> str:
    return text if text.isascii() and text.isprintable() else Visible().push(text)


def normalise(text: str) -> str:
    """Normal form for comparisons, not for display: NFKC without invisible characters. Idempotent."""
    if text.isascii():
        return visible(text)
    return compatible(visible(compatible(text)))


def unescaped(text: str) -> str:
    """Decodes JSON escapes, including those of strings nested in other strings."""
    return _ESCAPED.sub(lambda escape: _written(escape) or escape[0], text) if "\\" in text else text


def unescaped_places(text: str) -> tuple[str, list[int]]:
    """Like `unescaped`, with the original position of each character and of the end."""
    pieces, places, at = [], [], 0
    for escape in _ESCAPED.finditer(text):
        written = _written(escape)
        if written is None:
            continue
        pieces += [text[at : escape.start()], written]
        places += [*range(at, escape.start()), *[escape.start()] * len(written)]
        at = escape.end()
    return "".join([*pieces, text[at:]]), [*places, *range(at, len(text) + 1)]


def _written(escape: re.Match[str]) -> str | None:
    """The character of an escape; None for half of a surrogate pair."""
    pair, unit, sign = escape["pair"], escape["unit"], escape["sign"]
    if pair:
        high, low = (int(half, 16) for half in re.findall(r"u(\w{4})", pair))
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    if unit:
        return None if unit[:2].lower() in _HALVES else chr(int(unit, 16))
    return _SIGNS.get(sign, sign) if sign else "\n"


def normalise_rail() -> Rail:
    """Removes invisible characters and replaces disguised letters and digits. Hidden text in a result taints a run."""

    async def check(checked: Checked) -> Judgement:
        clean = await aside(len(checked.text), visible, checked.text)
        if clean == checked.text:
            return Judgement((Verdict(action=Action.ALLOW, rail="normalise", stage=checked.stage),))
        hidden = sum(character in _INVISIBLE for character in checked.text)
        smuggled = checked.stage is Stage.TOOL_RESULT and _SMUGGLED.search(checked.text) is not None
        labels = [*(["invisible"] if hidden else []), *(["tainted"] if smuggled else [])]
        verdict = Verdict(
            action=Action.REDACT,
            rail="normalise",
            stage=checked.stage,
            reason=f"{hidden} invisible characters removed" if hidden else "disguised letters replaced by plain ones",
            labels=labels,
        )
        return Judgement((verdict,), text=clean, tainted=smuggled)

    return check
