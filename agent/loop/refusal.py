"""Answers that refuse: how to recognise one without a reason, and what a withheld answer leaves to say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import regex

from agent.loop.run_dependencies import Toolbox
from flightloop.events import ToolResult
from guardrails.rails.claims import what_was_done
from guardrails.text.sentences import sentence_spans
from guardrails.types import Write
from tools.knowledge.words import words

Language = Literal["en", "zh"]

_SORRY = r"(?:(?:i['’]m |i am )?(?:very |so |really )?sorry|unfortunately|i apologi[sz]e|apologies)"
_UNABLE = r"\bi(?: can(?:no|['’])?t| can not|['’]m unable to| am unable to|['’]m not able to| am not able to)"
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
_REFUSES: dict[Language, regex.Pattern[str]] = {
    "en": regex.compile(
        rf"{_UNABLE}\b|\bi (?:do not|don['’]t) (?:know|have (?:any|that|the|this))\b"
        r"|\bi (?:could not|couldn['’]t) (?:find|tell)\b"
        r"|\bwe (?:do not|don['’]t) (?:offer|provide) (?:that|this|it|such)\b",
        regex.IGNORECASE,
    ),
    "zh": regex.compile(
        r"无法|不能|没法|没办法|不知道|不清楚|找不到|没有找到|不提供|没有(?:这|该|此)(?:个|项|种|样)?的?(?:服务|功能|业务|信息)"
    ),
}
NEARLY_ALL = 0.9
"""Share of an answer's words."""
NOTHING_READ = "it refuses before anything was looked up"
"""What is said of an answer that the agent's ``before_refusing`` comes before."""
UNSURE = "it was unsure of a call before anything was looked up"
"""What is said of an answer that the agent's overview comes before."""


def refuses(text: str) -> bool:
    """Whether an answer's first sentence says what the agent can't do, find or tell, in English or Chinese."""
    return refused_in(text) is not None


def refused_in(text: str) -> Language | None:
    """The language in which an answer's first sentence says what the agent can't do, find or tell; otherwise None."""
    first = regex.split(r"(?<=[.!?。！？])\s*", text.strip(), maxsplit=1)[0]
    return next((language for language, pattern in _REFUSES.items() if pattern.search(first)), None)


def without_denials(text: str, tools: Iterable[str]) -> str:
    """An answer without the sentences that refuse what tools of these names do: "I can't cancel booking 4007" is false
    once ``cancel_booking`` has done so.

    A line break stands in their place: what was before and behind them makes no link together.
    """
    acts = [set(words(name.replace("_", " "))) for name in tools]
    found = [text[start:end] for start, end in sentence_spans(text)]
    kept = ("\n" if refuses(one) and any(act <= set(words(one)) for act in acts) else one for one in found)
    return "".join(kept).strip()


def is_told_by(answer: str, texts: Iterable[str]) -> bool:
    """Whether an answer repeats what texts say: nearly all its words stand in them, by their stems, and it does not
    refuse. Words of other than Latin letters are not compared, since the texts may be in another language."""
    said = [word for word in words(answer) if word.isascii() and word.isalpha()]
    known = {word for text in texts for word in words(text)}
    return not refuses(answer) and sum(word in known for word in said) >= NEARLY_ALL * len(said)


def bare_refusal(text: str) -> Language | None:
    """The language of an answer that is a refusal without a reason; None if it is none, or in another language."""
    answer = text.strip()
    return next((language for language, pattern in _BARE.items() if pattern.fullmatch(answer)), None)


def withheld(refusal: str, results: Iterable[ToolResult], toolbox: Toolbox) -> str:
    """What a user reads in place of a withheld answer: the refusal, and the tools whose writes were or may be done.

    Arguments are left out, since the answer may have been withheld for one of them.
    """
    done = done_by(results, toolbox)
    return f"{refusal}\n{done}" if done else refusal


def done_by(results: Iterable[ToolResult], toolbox: Toolbox) -> str:
    """The tools whose writes were or may be done, one a line; empty if there are none."""
    made = [Write(one.tool, {}, one.ok, uncertain=one.uncertain) for one in results if writes(one.tool, toolbox)]
    done = [write for write in made if write.may_be_done]
    return what_was_done(done) if done else ""


def writes(name: str, toolbox: Toolbox) -> bool:
    """Whether there is a tool with this name that changes something itself."""
    return name in toolbox and toolbox.get(name).writes and toolbox.get(name).agent is None
