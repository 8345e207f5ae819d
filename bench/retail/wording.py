"""Rewrites a task's instructions in the first person, by replacing pronouns."""

from __future__ import annotations

import re
from collections.abc import Callable

_AFTER = (
    "to|for|with|of|from|by|about|at|on|between|without|like|give|gives|gave|tell|tells|told|help|helps|helped|let|lets|"
    "ask|asks|asked|allow|allows|offers|send|sends|sent|shows|save|saves|makes|charges|costs|suits|remind|transfer"
)
"""Words after which "you" is an object."""
_VERBS = (
    "asks|says|tells|proposes|offers|agrees|refuses|wants|needs|allows|confirms|finds|gives|suggests|insists|mentions|"
    "requires|provides|makes|denies"
)
_AGENT = r"(?:the|a|an) (?:customer service )?agent"
# The first match at a position counts; after "thank", "you" already means the agent.
_RULES: tuple[tuple[str, str | Callable[[str], str]], ...] = (
    (r"(?:you )?ask (?:the agent|it)(?: explicitly)? to", "please"),
    (r"(?:you )?ask (?:the agent|it)(?: explicitly)?", "please tell me"),
    (r"tell the agent", "I tell you"),
    (rf"{_AGENT} is", "you are"),
    (rf"{_AGENT} was", "you were"),
    (rf"{_AGENT} has", "you have"),
    (rf"{_AGENT} doesn['’]t", "you don't"),
    (rf"{_AGENT} does", "you do"),
    (rf"{_AGENT} (?:{_VERBS}) you", lambda found: f"you {_bare(found.split()[-2])} me"),
    (rf"{_AGENT} (?:{_VERBS})", lambda found: f"you {_bare(found.split()[-1])}"),
    (rf"{_AGENT}['’]s", "your"),
    (_AGENT, "you"),
    (r"thank you", "thank you"),
    (r"you are", "I am"),
    (r"you['’]re", "I'm"),
    (r"you were", "I was"),
    (r"are you", "am I"),
    (r"were you", "was I"),
    (r"yourself", "myself"),
    (r"yours", "mine"),
    (r"your", "my"),
    (r"you(?= (?:name|e-?mails?|zip|address|user id)\b)", "my"),
    (rf"(?:{_AFTER}) you", lambda found: f"{found[: found.rindex(' ')]} me"),
    (r"you", "I"),
)
_RULE = re.compile("|".join(rf"(?P<r{number}>\b{rule}\b)" for number, (rule, _) in enumerate(_RULES)), re.IGNORECASE)
_COMMON = (
    "order orders item items want wants would like please agent also with that this have from your which what when "
    "could will there these those them they then than were been just only some other need provide tell know more about "
    "into make sure here help thank thanks change information details following confirm confirmation"
)
"""Words that don't show what a sentence is about."""
_END = re.compile(r"(?<=[.!?;])\s+|\n+")
_BEFORE_CUE = re.compile(r",? but (?=(?:if|when|once) (?:the agent|asked)\b)", re.IGNORECASE)


def first_person(text: str) -> str:
    """The text as the user would say it to the agent."""
    return _RULE.sub(_replaced, text)


def sentences(text: str) -> list[str]:
    """Sentences of a text, without empty ones. A condition about a question of the agent is a separate sentence."""
    parts = [part for sentence in _END.split(text) for part in _BEFORE_CUE.split(sentence)]
    stripped = [" ".join(part.split()).lstrip(".,; ").rstrip("; ") for part in parts]
    return [_closed(part) for part in stripped if re.search(r"\w", part)]


def stems(text: str, length: int = 5) -> frozenset[str]:
    """First letters of the longer words, enough to recognise that two sentences are about the same thing."""
    words = set(re.findall(r"[a-z0-9]{4,}", text.casefold())) - set(_COMMON.split())
    return frozenset(word[:length] for word in words)


def _replaced(found: re.Match[str]) -> str:
    assert found.lastgroup is not None
    _, made = _RULES[int(found.lastgroup[1:])]
    text = made if isinstance(made, str) else made(found.group())
    return text[0].upper() + text[1:] if found.group()[0].isupper() else text


def _bare(verb: str) -> str:
    """The verb without the s of the third person."""
    return f"{verb[:-3]}y" if verb.endswith("ies") else verb[:-1]


def _closed(sentence: str) -> str:
    sentence = sentence[0].upper() + sentence[1:]
    return sentence if sentence[-1] in ".!?" else f"{sentence}."
