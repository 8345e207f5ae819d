"""Decides whether the user's latest words ask for a write that the session has made before.

A request counts only if it can mean no other call: whatever it names must occur in the call's arguments. Where this is
unclear, a person decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import regex

from guardrails.evidence.acts import Act
from guardrails.text.normalise import normalise
from guardrails.text.scalars import scalar_texts
from guardrails.text.verbs import gerunds, noun_of, participles
from guardrails.text.words import numbers_in, plain
from guardrails.types import CheckedCall

_ONCE_MORE = regex.compile(
    r"\b(?:again|once\s+more|one\s+more|another|anew|twice|(?:second|third)\s+time|repeat)\b", regex.IGNORECASE
)
_NAMES_NOTHING = frozenset(
    [
        "a", "about", "again", "ahead", "all", "also", "am", "an", "and", "another", "anew", "any", "are",
        "as", "ask", "at", "be", "been", "but", "by", "can", "cent", "cents", "could", "d", "dear", "did",
        "do", "does", "dollar", "dollars", "done", "each", "either", "else", "eur", "euro", "euros", "every",
        "fine", "for", "from", "gbp", "give", "go", "good", "great", "had", "has", "have", "hello", "help",
        "hey", "hi", "how", "i", "if", "in", "into", "is", "it", "just", "kindly", "let", "like", "ll",
        "look", "m", "made", "make", "many", "may", "might", "more", "much", "must", "my", "need", "no",
        "now", "of", "off", "ok", "okay", "on", "once", "one", "onto", "or", "our", "out", "over", "please",
        "pls", "pound", "pounds", "quickly", "really", "repeat", "right", "same", "second", "shall", "she",
        "should", "so", "some", "soon", "still", "sure", "t", "than", "thank", "thanks", "that", "the",
        "their", "them", "then", "there", "these", "they", "thing", "third", "this", "those", "though",
        "through", "time", "to", "too", "twice", "until", "up", "us", "usd", "ve", "very", "want", "was",
        "way", "we", "well", "were", "what", "when", "where", "which", "while", "who", "will", "wish", "with",
        "without", "would", "yeah", "yep", "yes", "you", "your", "yours",
    ]
)  # fmt: skip
"""Words that don't tell one call from another."""
_NAME = regex.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True)
class _Named:
    """Numbers of a text by value, and its words in lower case."""

    numbers: frozenset[float]
    words: frozenset[str]

    @classmethod
    def of(cls, *texts: str) -> _Named:
        numbers = frozenset(number for text in texts for number in numbers_in(normalise(text)))
        words = frozenset(word for text in texts for word in plain(text).split() if not word.isdecimal())
        return cls(numbers, words)


def asks_for(words: str, call: CheckedCall) -> bool:
    """Whether these words, the user's latest, request this call.

    A request that says "again" may also name things that the arguments identify by another kind of value ("renew
    Solaris again" if the only argument is a number).
    """
    act = Act.of(call.spec)
    if act is None:
        return False
    texts = scalar_texts(list(call.arguments.values()))
    given, usual = _Named.of(*texts), _usual(call, act)
    # Whether an argument is in words, so that a name in the request may stand for another value of it.
    in_words = any(regex.search(r"\p{L}", text) and not regex.search(r"\d", text) for text in texts)
    for sentence in act.requests_in(words):
        said = _Named.of(sentence)
        numbers = said.numbers - given.numbers
        others = {word for word in said.words - given.words if not usual(word)}
        if _ONCE_MORE.search(sentence):
            numbers, others = numbers if given.numbers else frozenset(), others if in_words else set()
        if not numbers and not others:
            return True
    return False


def _usual(call: CheckedCall, act: Act) -> Callable[[str], bool]:
    """Tells whether a word may occur in a request for any call of this tool."""
    parameters: Mapping[str, Any] = call.spec.parameters.get("properties") or {}
    named = {word.casefold() for text in (call.spec.name, *parameters) for word in _NAME.findall(text)}
    verbs = {form for verb in act.verbs for form in (verb, *gerunds(verb), *participles(verb))}
    known = _NAMES_NOTHING | named | verbs | set(plain(call.spec.description).split())
    nouns = regex.compile("|".join(map(noun_of, act.verbs)) or "(?!)")
    return lambda word: word in known or word.removesuffix("s") in known or nouns.fullmatch(word) is not None
