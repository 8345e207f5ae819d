"""A whole conversation as a model reads it, in pieces: what is given, and the answers that it is trained on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """Consecutive tokens of a conversation.

    Attributes:
        ids: token ids. No token spans two pieces, since an answer begins where its prompt ends.
        answer: index of the message whose text and end token these are; None if they are given.
    """

    ids: tuple[int, ...]
    answer: int | None = None
