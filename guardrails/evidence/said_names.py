"""Names, addresses and dates that a run may say, because the user or a result has said them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import regex

from guardrails.finders.pattern import Finding
from guardrails.rail_entries import Source
from guardrails.text.words import plain
from guardrails.types import GuardContext

_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")


def evidence_of(context: GuardContext, keep: tuple[Source, ...]) -> tuple[str, ...]:
    """The texts that vouch for personal data."""
    return (*((context.user_text,) if "user" in keep else ()), *(context.results if "results" in keep else ()))


def unsaid(text: str, findings: list[Finding], context: GuardContext, keep: tuple[Source, ...]) -> list[Finding]:
    """The findings of which some word occurs in no text that vouches: the user's, the subject's claims, results.

    A part of a name that was said may be said: the surname alone, without the title.
    """
    if not findings:
        return []
    known = [_words(each, context) for each in _vouching(context, keep)]
    return [one for one in findings if not _said(plain(text[one.start : one.end]), known)]


def _vouching(context: GuardContext, keep: tuple[Source, ...]) -> Iterator[str]:
    yield from evidence_of(context, keep)
    if "user" in keep and context.subject is not None:
        yield "\n".join(map(str, (context.subject.id, *context.subject.claims.values())))
    if "results" in keep:
        yield from context.answered


def _words(text: str, context: GuardContext) -> tuple[str, frozenset[str]]:
    key = (unsaid, text)
    found = context.memo.get(key)
    if not isinstance(found, tuple):
        words = plain(text)
        context.memo[key] = found = (words, frozenset(words.split()))
    return found


def _said(name: str, known: Iterable[tuple[str, frozenset[str]]]) -> bool:
    """Whether all words of a name occur in one text."""
    wanted = name.split()
    return any(
        all(word in words or (_UNSPACED.search(word) and word in text) for word in wanted) for text, words in known
    )
