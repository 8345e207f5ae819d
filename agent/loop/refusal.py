"""Recognises an answer that refuses and says nothing else: no reason, no question, no next step."""

from __future__ import annotations

from typing import Literal

import regex

Language = Literal["en", "zh"]

_SORRY = r"(?:(?:i['’]m |i am )?(?:very |so |really )?sorry|unfortunately|i apologi[sz]e|apologies)"
_UNABLE = r"i(?: can(?:no|['’])?t| can not|['’]m unable to| am unable to|['’]m not able to| am not able to)"
_BARE: dict[Language, regex.Pattern[str]] = {
    "en": regex.compile(
        rf"(?:{_SORRY}[,.!]? )?(?:but )?{_UNABLE} (?:help|assist)(?: you)?"
        r"(?: with (?:that|this|it)(?: one| request)?)?[.!]?",
        regex.IGNORECASE,
    ),
    "zh": regex.compile(
        r"(?:很|非常|十分)?(?:抱歉|对不起|不好意思)[，,。]?(?:但是?)?我?(?:无法|不能|没法|没办法)"
        r"(?:帮助?(?:您|你)?|帮到(?:您|你)|协助(?:您|你)?)(?:处理|解决|完成)?(?:这个|此|该|这一)?(?:问题|请求|事情)?[。！]?"
    ),
}


def bare_refusal(text: str) -> Language | None:
    """The language of an answer that is a refusal without a reason; None if it is none, or in another language."""
    answer = text.strip()
    return next((language for language, pattern in _BARE.items() if pattern.fullmatch(answer)), None)
