"""Text of models, tools and users as a person may see it: it steers no terminal, and turns nothing beside it."""

_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\t"), ord("\n")}
_DIRECTIONS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F}
_SHOWN_AS = dict.fromkeys(_CONTROLS | _DIRECTIONS, "\N{REPLACEMENT CHARACTER}")


def shown(text: str) -> str:
    """Control characters (an escape sequence's first, say) and those that turn the direction of text become �."""
    return text.translate(_SHOWN_AS)
