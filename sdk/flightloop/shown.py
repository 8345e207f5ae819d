"""Makes text of models, tools and users safe to display: no control, invisible or direction-changing characters."""

_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\t"), ord("\n")}
_LINES = {0x2028, 0x2029}
"""Separators at which some readers break lines."""
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
"""Unicode's default ignorable characters and annotations, except those that living languages need."""
_HALVES = {*range(0xD800, 0xE000)}
"""Surrogates, which can't be encoded."""
_SHOWN_AS = dict.fromkeys(_CONTROLS | _LINES | _DIRECTIONS | _INVISIBLE | _HALVES, "\N{REPLACEMENT CHARACTER}")


def shown(text: str) -> str:
    """Replaces control, invisible and direction-changing characters and surrogates by �.

    Joiners are kept, because scripts and emoji need them.
    """
    return text.translate(_SHOWN_AS)
