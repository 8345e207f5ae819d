"""Fills placeholders in again while an answer arrives in pieces."""

from __future__ import annotations

from guardrails.placeholders.marks import open_at
from guardrails.placeholders.register import Register


class Filling:
    """Filter for one answer: ``push`` the pieces, then ``finish``. However the answer is cut, the output is that of
    ``Register.filled`` for the whole of it.

    Args:
        escaped: the answer is JSON.
    """

    def __init__(self, register: Register, *, escaped: bool = False) -> None:
        self._register, self._escaped, self._held = register, escaped, ""

    def push(self, text: str) -> str:
        """Adds a piece and returns the text in which no placeholder can be open."""
        text = self._held + text
        end = open_at(text)
        self._held = text[end:]
        return self._register.filled(text[:end], escaped=self._escaped)

    def finish(self) -> str:
        """Returns the rest."""
        rest, self._held = self._held, ""
        return self._register.filled(rest, escaped=self._escaped)
