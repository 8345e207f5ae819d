"""Parts of a text that rule an object out: "cancel 10073, not 10099", "everything except order 10099"."""

from __future__ import annotations

from functools import lru_cache

import regex

from guardrails.text.request_words import chinese_words

IDENTIFIER = r"#?(?=[a-z/_-]*\d)[a-z\d/_-]{3,40}"
_ONE = IDENTIFIER
_NOUNS = r"(?:(?:the|my|our|one|orders?|number|no|nr|die|meine|bestellung(?:en)?)\b\.?\s*|订单号?|我的){0,4}"
_OBJECT = rf"{_NOUNS}(?P<object>{_ONE}(?:(?:\s*,\s*|\s+)(?:or|nor|and|oder|und)\s+{_NOUNS}{_ONE})*)"
_NEGATED = r"(?<!\b(?:or|why|whether)\s)\b(?:not|never|instead\s+of|rather\s+than|nicht|(?:an)?statt)\s+"
_EXCEPTION = r"\b(?:except(?:ing|\s+for)?|excluding|other\s+than|apart\s+from|aside\s+from|besides|außer)\s+"
_ALL_BUT = r"(?<=\b(?:all|any|every|everything|each)\b.{0,40}\s)but\s+"
_KEPT = r"\b(?:keep|keeping|behalten?|behalte)\s+|(?:保留|留着)\s*"
_CHINESE = r"(?:而?不是|而非|除了?|除去|不包括|别动)\s*"
_NOTHING = regex.compile(r"\b(?:no|not|nothing|none|never|nichts|keine?)\b|n['’]t\b", regex.IGNORECASE)
"""Before an exception, these make it what is wanted: "don't cancel anything except 10073"."""
_TAKES_AWAY = frozenset(["cancel", "close", "delete", "remove", "return"])
"""Verbs of acts after which the user no longer has the object."""


def divided(sentence: str, verbs: tuple[str, ...]) -> tuple[str, str]:
    """A sentence without the objects that it rules out for acts with these verbs, and these objects, one a line."""
    out: list[str] = []

    def without(match: regex.Match[str]) -> str:
        if match["kept"] is not None and _TAKES_AWAY.isdisjoint(verbs):
            return match.group()
        if match["exception"] is not None and _NOTHING.search(sentence, 0, match.start()):
            return match.group()
        out.append(match["object"])
        return match.group().removesuffix(match["object"])

    return _out(verbs).sub(without, sentence), "\n".join(out)


@lru_cache(maxsize=1024)
def _out(verbs: tuple[str, ...]) -> regex.Pattern[str]:
    negated = rf"{_NEGATED}|{_CHINESE}|(?:不要|不用|不|别|勿)(?:{chinese_words(verbs)})\s*"
    exception = rf"(?P<exception>{_EXCEPTION}|{_ALL_BUT})"
    return regex.compile(rf"(?:{negated}|{exception}|(?P<kept>{_KEPT})){_OBJECT}", regex.IGNORECASE)
