"""Makes text of models, tools and users safe to display: no control, invisible or direction-changing characters."""

from __future__ import annotations

import re
import unicodedata

_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\t"), ord("\n")}
_LINES = {0x2028, 0x2029}
"""Separators at which some readers break lines."""
_DIRECTIONS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F}
_INVISIBLE = {
    0xAD,
    0x34F,
    0x61C,
    0x115F,
    0x1160,
    0x17B4,
    0x17B5,
    0x180E,
    0x200B,
    0x2800,
    0x3164,
    0xFEFF,
    0xFFA0,
    *range(0x2060, 0x2070),
    *range(0xFE00, 0xFE0E),
    *range(0xFFF0, 0xFFFC),
    *range(0x1BCA0, 0x1BCA4),
    *range(0x1D173, 0x1D17B),
    *range(0xE0000, 0xE1000),
}
"""Unicode's default ignorable characters, annotations and the braille blank, except what living languages need."""
_HALVES = {*range(0xD800, 0xE000)}
"""Surrogates, which can't be encoded."""
_SHOWN_AS = dict.fromkeys(_CONTROLS | _LINES | _DIRECTIONS | _INVISIBLE | _HALVES, "\N{REPLACEMENT CHARACTER}")


_JOINING = re.compile("[\u180b-\u180d\u180f\u200c\u200d\ufe0e\ufe0f]")
"""Invisible characters that belong to the one before: joiners, and selectors of Mongolian forms and of emoji."""
_EMOJI = {"So", "Sm", "Po", "Pd"}
"""Categories of characters with a text and an emoji form."""


def shown(text: str) -> str:
    """Replaces control, invisible and direction-changing characters and surrogates by �.

    Joiners and selectors are kept where scripts and emoji need them: once, after a character that can take them.
    Anywhere else they could spell out a hidden text.
    """
    return _JOINING.sub(_kept, text).translate(_SHOWN_AS)


def _kept(match: re.Match[str]) -> str:
    text, at = match.string, match.start()
    before = text[at - 1] if at else ""
    return match[0] if before and _takes(before, match[0], text[at + 1 : at + 2]) else "\N{REPLACEMENT CHARACTER}"


def _takes(before: str, joining: str, after: str) -> bool:
    kind = unicodedata.category(before)
    if joining in "\ufe0e\ufe0f":
        keycap = before in "0123456789#*" and after == "\u20e3"
        return keycap or before == "\u2139" or (before > "\x7f" and kind in _EMOJI)
    if joining in "\u200c\u200d":
        return before == "\ufe0f" or (before > "\x7f" and (kind[0] in "LM" or kind in ("So", "Sk")))
    return "\u1820" <= before <= "\u18aa"
