"""Text of models, tools and users as a person may see it: it steers no terminal, and turns nothing beside it."""

_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\t"), ord("\n")}
_LINES = {0x2028, 0x2029}
"""Separators that some readers break a line at."""
_DIRECTIONS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F}
_INVISIBLE = {
    0xAD,
    0x61C,
    0x115F,
    0x1160,
    0x180E,
    0x200B,
    0x3164,
    0xFEFF,
    0xFFA0,
    *range(0x2060, 0x2070),
    *range(0xFFF0, 0xFFFC),
    *range(0x1BCA0, 0x1BCA4),
    *range(0x1D173, 0x1D17B),
    *range(0xE0000, 0xE1000),
}
"""What Unicode calls ignorable by default, and annotations, but for what the scripts of living languages need."""
_HALVES = {*range(0xD800, 0xE000)}
"""Of characters that UTF-16 writes as two: alone nothing can write them."""
_SHOWN_AS = dict.fromkeys(_CONTROLS | _LINES | _DIRECTIONS | _INVISIBLE | _HALVES, "\N{REPLACEMENT CHARACTER}")


def shown(text: str) -> str:
    """Control characters (an escape sequence's first, say), invisible ones, and those that turn the text become �.

    Joiners stay: scripts and emoji need them.
    """
    return text.translate(_SHOWN_AS)
