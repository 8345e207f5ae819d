"""Text of models, tools and users as a person may see it: it steers no terminal, and turns nothing beside it."""

_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\t"), ord("\n")}
_DIRECTIONS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F}
_INVISIBLE = {
    0xAD,
    0x61C,
    0x115F,
    0x1160,
    0x200B,
    0x3164,
    0xFEFF,
    0xFFA0,
    *range(0x2060, 0x2070),
    *range(0xE0000, 0xE0080),
}
_SHOWN_AS = dict.fromkeys(_CONTROLS | _DIRECTIONS | _INVISIBLE, "\N{REPLACEMENT CHARACTER}")


def shown(text: str) -> str:
    """Control characters (an escape sequence's first, say), invisible ones, and those that turn the text become �.

    Joiners stay: scripts and emoji need them.
    """
    return text.translate(_SHOWN_AS)
