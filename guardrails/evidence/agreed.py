"""Questions of the agent to which the user plainly agreed: "Shall I book 3 pm on 1 December?" – "Yes, please."."""

from __future__ import annotations

import regex

from guardrails.text.sentences import sentence_spans
from guardrails.types import Utterance

_LONGEST = 80
"""Characters of the longest plain agreement."""
_LONGEST_QUESTION = 1000
_YES = (
    r"yes|yeah|yep|yup|sure|ok(?:ay)?|please\s+do(?:\s+(?:so|it|that))?|go\s+ahead|do\s+(?:it|that|so)|of\s+course|certainly"
    r"|absolutely|definitely|exactly|correct|right|agreed|confirmed|i\s+(?:confirm|agree)|(?:that['’]?s|that\s+is|it['’]?s)"
    r"\s+(?:right|correct|fine|good|ok(?:ay)?|great|perfect)|sounds\s+(?:good|great)|perfect|fine|great"
    r"|ja|jawohl|gerne?|genau|einverstanden|in\s+ordnung|passt"
    r"|是的?|对的?|好的?|好吧|可以的?|行|没问题|嗯|确认|同意|就这样|当然"
)
_COURTESY = (
    r"please|thanks?(?:\s+you)?(?:\s+(?:very|so)\s+much)?|many\s+thanks|bitte|danke"
    r"|请|请吧|麻烦了?|麻烦你了?|谢谢你?|的|吧"
)
_AGREES = regex.compile(
    rf"\W*(?:(?:{_COURTESY})\b\W*)*+(?:{_YES})"
    rf"(?:\W++(?:{_YES}|{_COURTESY})|(?<=\p{{Han}})\W*(?:{_YES}|{_COURTESY}))*+\W*",
    regex.IGNORECASE,
)
_ASKS = regex.compile(r"[?？]\W*$|吗\W*$")


def agrees(text: str) -> bool:
    """Whether a message is nothing but an agreement. A "yes, but at 4" is none, nor is a question."""
    said = text.strip()
    if not 0 < len(said) <= _LONGEST or "?" in said or "？" in said:
        return False
    return _AGREES.fullmatch(said) is not None


def question_of(answer: str) -> str | None:
    """The question with which an answer ends, and the sentence before it; None if it ends otherwise."""
    spans = sentence_spans(answer)
    if not spans:
        return None
    start, end = spans[-1]
    if not _ASKS.search(answer[start:end]) or end - start > _LONGEST_QUESTION:
        return None
    first = spans[-2][0] if len(spans) > 1 and end - spans[-2][0] <= _LONGEST_QUESTION else start
    return answer[first:end].strip()


def agreed_question(said: Utterance) -> str | None:
    """The question to which a message agrees; None if it is no plain agreement, or answers no question."""
    return question_of(said.after) if agrees(said.text) else None
