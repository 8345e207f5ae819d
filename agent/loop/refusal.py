"""Recognises an answer that refuses and says nothing else: no reason, no question, no next step."""

from __future__ import annotations

import regex

WITHOUT_A_REASON = "it refused without a reason"

_SORRY = r"(?:(?:i['’]m |i am )?(?:very |so |really )?sorry|unfortunately|i apologi[sz]e|apologies)"
_UNABLE = r"i(?: can(?:no|['’])?t| can not|['’]m unable to| am unable to|['’]m not able to| am not able to)"
_ENGLISH = (
    rf"(?:{_SORRY}[,.!]? )?(?:but )?{_UNABLE} (?:help|assist)(?: you)?"
    r"(?: with (?:that|this|it)(?: one| request)?)?[.!]?"
)
_CHINESE = (
    r"(?:很|非常|十分)?(?:抱歉|对不起|不好意思)[，,。]?(?:但是?)?我?(?:无法|不能|没法|没办法)"
    r"(?:帮助?(?:您|你)?|帮到(?:您|你)|协助(?:您|你)?)(?:处理|解决|完成)?(?:这个|此|该|这一)?(?:问题|请求|事情)?[。！]?"
)
_BARE = regex.compile(f"{_ENGLISH}|{_CHINESE}", regex.IGNORECASE)


def refuses_barely(text: str) -> bool:
    """Whether a whole answer, in English or Chinese, is a refusal without a reason."""
    return bool(_BARE.fullmatch(text.strip()))
