"""Identifiers of machines, in which a run of digits is no number of a person: UUIDs and long hexadecimal ids."""

from __future__ import annotations

from collections.abc import Iterator

_HEX = "[0-9a-fA-F]"
_UUID = [*[_HEX] * 8, "-", *[_HEX] * 4, "-", "[1-8]", *[_HEX] * 3, "-", "[89abAB]", *[_HEX] * 3, "-", *[_HEX] * 12]
"""Characters of a UUID with its version and variant (RFC 9562, section 4)."""
_LEAST = 24
"""Hexadecimal characters in a row: more than the digits of any card. Ids of MongoDB have 24, SHA-1 has 40."""


def _within_uuid() -> Iterator[str]:
    for place in range(len(_UUID)):
        before, after = "".join(_UUID[:place]), "".join(_UUID[place:])
        yield f"(?<=(?<!{_HEX}){before}){after}(?!{_HEX})"


def _within_hex() -> Iterator[str]:
    for place in range(_LEAST):
        yield f"(?<={_HEX}{{{place}}}){_HEX}{{{_LEAST - place}}}"
    yield f"(?<={_HEX}{{{_LEAST}}})"


OUTSIDE_ID = f"(?!{'|'.join([*_within_uuid(), *_within_hex()])})"
"""Look-around for the beginning of a pattern: it is not within an identifier."""
