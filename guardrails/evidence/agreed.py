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
    r"|请|请吧|麻烦了?|麻烦你了?|谢谢你?|的"
)
_GAP = r"[\s.,!;…~'\"“”‘’、。，！；～–—\-👍👌✅🙏🙂😊\p{EMod}\uFE0F]"
"""Signs allowed beside the words. Others may negate or question them, or be part of a number."""
_AGREES = regex.compile(
    rf"{_GAP}*(?:(?:{_COURTESY})\b{_GAP}*)*+(?:{_YES})"
    rf"(?:{_GAP}++(?:{_YES}|{_COURTESY})|(?<=\p{{Han}}){_GAP}*(?:{_YES}|{_COURTESY}))*+{_GAP}*",
    regex.IGNORECASE,
)
_DONE = r"go\s+ahead|do\s+(?:it|that|so)|please\s+do(?:\s+(?:it|that|so))?|(?:that['’]?s|that\s+is)\s+(?:right|correct)"
_PLAIN = regex.compile(
    r"\s*(?:"
    rf"(?:yes|yep|yup|yeah|ja|jawohl)(?:[\s,.!]+(?:yes|ja|please|bitte|thanks|thank\s+you|danke|{_DONE}))?"
    rf"|(?:ok(?:ay)?|sure)(?:[\s,.!]+(?:please|bitte|{_DONE}))?"
    rf"|{_DONE}|i\s+(?:confirm|agree)|confirmed|agreed|einverstanden"
    r"|是的?|对的?|好的?|可以|确认|同意|(?:是的?|对的?|好的?)[\s，,。]*(?:确认|同意)|可以[\s，,。]+(?:确认|同意)"
    r")\s*[.!。！]?[\s👍🙏✅🙂😊\p{EMod}\uFE0F]*",
    regex.IGNORECASE,
)
"""Whole answers that are read in one way only. "Right, thanks" and "ok, thanks" may thank for something else, "please
correct" wants a change, and 好好的 says that a thing is as it should be."""
_ASKS = regex.compile(r"[?？]\W*$|吗\W*$")
_EITHER = regex.compile(r"\b(?:or|oder)\b|还是|或", regex.IGNORECASE)
"""Offers a choice, between whose values a yes does not choose."""


def agrees(text: str) -> bool:
    """Whether a message is nothing but an agreement. A "yes, but at 4" is none, nor is a question."""
    said = text.strip()
    if not 0 < len(said) <= _LONGEST or "?" in said or "？" in said:
        return False
    return _AGREES.fullmatch(said) is not None


def says_yes(text: str) -> bool:
    """Whether a message is nothing but a plain yes, of those that cannot mean anything else."""
    return len(text) <= _LONGEST and _PLAIN.fullmatch(text) is not None


def question_of(answer: str) -> str | None:
    """The question with which an answer ends, and the statement before it; None if it ends otherwise, or with a choice.

    A yes may answer only one of two questions: the last.
    """
    answer = answer.rstrip()[-2 * _LONGEST_QUESTION - 2 :]
    spans = sentence_spans(answer)
    if not spans:
        return None
    start, end = spans[-1]
    if end - start > _LONGEST_QUESTION or not _ASKS.search(answer[start:end]) or _EITHER.search(answer[start:end]):
        return None
    before, _ = spans[-2] if len(spans) > 1 else (start, end)
    told = answer[before:start]
    if end - before > _LONGEST_QUESTION or _ASKS.search(told.rstrip()) or _EITHER.search(told):
        before = start
    return answer[before:end].strip()


def agreed_question(said: Utterance) -> str | None:
    """The question to which a message agrees; None if it is no plain agreement, or answers no question."""
    return question_of(said.after) if agrees(said.text) else None
