"""Checks whether an argument's value comes from the user or from a trusted tool."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from itertools import zip_longest
from typing import TypeVar

from guardrails.text.words import Value, Words
from guardrails.types import GuardContext

K = TypeVar("K", bound=Hashable)
NEVER = float("inf")


class Origins:
    """The user's words, results of trusted tools, and what the model wrote into calls.

    A result may repeat what the model wrote before it, so it doesn't support values that the model wrote before. Each
    word of a value must come from the user, or from a result that contained it before the model wrote it.

    Attributes:
        results: pairs of a result and the number of texts in ``written`` that precede it.
    """

    def __init__(self, user: Words, results: Sequence[tuple[Words, int]], written: Sequence[Words]) -> None:
        self.user, self.results, self.written = user, results, written

    @classmethod
    def of(cls, context: GuardContext) -> Origins:
        written = [_kept(context, Words.written, text) for text in context.written]
        # Without that number, all of the model's texts count as written before the result.
        pairs = zip_longest(context.trusted_results, context.written_before, fillvalue=len(written))
        results = [(_kept(context, Words.of, text), before) for text, before in pairs if isinstance(text, str)]
        return cls(_kept(context, Words.of, context.user_text), results, written)

    @classmethod
    def of_session(cls, context: GuardContext) -> Origins:
        """The user's words, and what the models of the session wrote; without results."""
        written = context.trail.written if context.trail is not None else ()
        texts = [_kept(context, Words.written, text) for text in written]
        return cls(_kept(context, Words.of, context.user_text), (), texts)

    def vouches_for(self, leaf: str) -> bool:
        """Whether a string or number of an argument occurs in the user's words or in a result that supports it."""
        value = Value.of(leaf)
        if self.user.hold(value):
            return True
        if value.number is None and not value.pieces <= self._pieces:
            return False
        since = self._since(value)
        return any(before <= since and words.hold(value) for words, before in self.results)

    def wrote_number(self, number: Decimal, before: int) -> bool:
        """Whether the model wrote a number, with any sign, into one of the first ``before`` texts."""
        return min(self._numbers.get(one, before) for one in (number, -number)) < before

    def _since(self, value: Value) -> float:
        """Index of the first text by which the model had written the value, one of its parts, or all pieces of an
        address in it; ``NEVER`` if it had not."""
        whole = next((at for at, words in enumerate(self.written) if words.hold(value)), NEVER)
        parts = (max((self._words.get(word, NEVER) for word in part.words), default=0) for part in value.parts)
        made_of = (max((self._first.get(piece, NEVER) for piece in one), default=NEVER) for one in value.addresses)
        return min(whole, *parts, *made_of, NEVER)

    @cached_property
    def _pieces(self) -> frozenset[str]:
        heard = set(self.user.pieces)
        for words, before in self.results:
            heard.update(piece for piece in words.pieces if self._first.get(piece, before) >= before)
        return frozenset(heard)

    @cached_property
    def _first(self) -> Mapping[str, int]:
        return _first(words.pieces for words in self.written)

    @cached_property
    def _words(self) -> Mapping[str, int]:
        return _first(words.words for words in self.written)

    @cached_property
    def _numbers(self) -> Mapping[Decimal, int]:
        return _first(words.numbers for words in self.written)


def _first(sets: Iterable[Iterable[K]]) -> dict[K, int]:
    """The index of the first set that contains each element."""
    found: dict[K, int] = {}
    for at, elements in enumerate(sets):
        for element in elements:
            found.setdefault(element, at)
    return found


def _kept(context: GuardContext, make: Callable[[str], Words], text: str) -> Words:
    """Words of a text, cached for all checks of a run."""
    key = (make.__name__, text)
    found = context.memo.get(key)
    if not isinstance(found, Words):
        context.memo[key] = found = make(text)
    return found
