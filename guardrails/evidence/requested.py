"""Whether the user's own words ask for a tool's act: in English, German or Chinese.

A question about the act ("has it been refunded?"), a refusal, a condition and a mere detail don't ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import regex

from flightloop.tool import ToolSpec
from guardrails.evidence.acts import LONGEST, Act, joined, sentences
from guardrails.evidence.ruled_out import IDENTIFIER
from guardrails.text.request_words import chinese, german, refuses
from guardrails.text.verbs import gerunds, noun_of, participles

_STOP = regex.compile(r"(?<=[。！？])")
_CLAUSE = regex.compile(r"\s*[,;:，；：—–]\s*(?:(?:and|so|but|und|also|aber|所以|那)\b\s*)?|\s+(?:and|so|but)\s+")
_QUESTION = regex.compile(r"[?？]\W*$|吗\W*$")
_CONDITION = regex.compile(r"\b(?:if|when|whether|unless|until|once)\b", regex.IGNORECASE)
_LATER = regex.compile(r"\b(?:later|next\s+(?:week|month|time|year))\b", regex.IGNORECASE)
_PLANNED = frozenset(["arrange", "book", "plan", "rebook", "remind", "reschedule", "reserve", "schedule"])
"""Acts that are asked for now, though what they are about is later."""
_REFUSAL = regex.compile(
    r"\b(?:not|no(?!\.?\s?#?\d|(?<=\b(?:order|booking|invoice)\s+no)\W*$)|never|nor|nothing|nobody|without|instead|stop|undo|cannot|refuse|avoid|hold\s+off|"
    r"thanks?(?:\s+you)?\s+again)\b|n['’]t\b",
    regex.IGNORECASE,
)
_LEAD = r"^\W*(?:(?:yes|ok(?:ay)?|and|then|now|so|well|also|hi|hello|hey|great|thanks|thank\s+you|just)\W+){0,4}"
_EXPLICIT = (
    r"(?:please\s+|kindly\s+|(?:can|could|would|will)\s+(?:you|we)\s+|go\s+ahead\s+and\s+|let['’]?s\s+"
    r"|(?:i|we)\s+ask\s+you\s+to\s+)"
)
_WISH = r"(?:(?:i|we)(?:['’]d|\s+would)?\s+(?:like|want|need|have|wish)|would\s+like)"
_WISHES = regex.compile(rf"{_LEAD}{_WISH}\s+to\b", regex.IGNORECASE)
"""Begins a wish that later clauses of the sentence may go on with: "I'd like to send it back and get a refund"."""
_GET = r"(?:get|have|receive|request|(?:apply|ask)\s+for)"
_WHOSE = r"(?:(?:another|one\s+more|an?|the|my|our|full|partial)\s+)*"
_PHRASES = {"cancel": (r"call\s+off",), "refund": (r"(?:give|pay|send)\s+me\b.{0,30}\bback",)}
_NOUNS = {"refund": (r"(?:money|amount)\s+back",)}
_AND = regex.compile(r"\s+(?:und|sowie|aber|as\s+well\s+as|plus|[-/])\s+|[和、(]|以及", regex.IGNORECASE)
_ASIDE = regex.compile(
    r"\s+(?=(?:since|because|as|while|whereas|although|though|before|after|which|who|than|like|weil|während|obwohl|bevor|"
    r"nachdem|wie)\s)",
    regex.IGNORECASE,
)
_MORE_OBJECTS = regex.compile(
    r"(?:\W|" + IDENTIFIER + r"|(?:my|the|also|too|orders?|number|no|nr|other|ones?|both|please|auch|bitte|meine|die|"
    r"bestellung(?:en)?)\b|订单|号|也|还有|我的)++",
    regex.IGNORECASE,
)
"""A clause that only names further objects of the clause before it."""
_FILLED = r"(?:(?:please|just|now|also|kindly|to)\s+)*"
_NO_OBJECT = regex.compile(
    r"\s+(?:status|polic(?:y|ies)|number|no\b|of|is|was|were|are|has|have|had|conditions?|requests?|still|pending|confirm"
    r"ations?|ids?|[#\d]+\W+(?:is|was|has|hasn|cost|arrived|came|still))\b",
    regex.IGNORECASE,
)
"""After a verb at the beginning, these make a noun of it: "Refund status of 17", "Order 17 is late"."""


def asks_for(spec: ToolSpec, text: str) -> bool:
    """Whether a text asks for a tool's act. A verb with many objects needs a word of the tool's object too."""
    return next(requests_in(spec, text), None) is not None


def requests_in(spec: ToolSpec, text: str) -> Iterator[str]:
    """The sentences of a text that ask for a tool's act.

    Sentences of more than LONGEST characters don't count, since searching them takes long.
    """
    act = Act.of(spec)
    if act is None or not act.verbs:
        return
    for sentence in sentences(text):
        for part in _STOP.split(sentence):
            if part.strip() and len(part) <= LONGEST and (_in_english(act, part) or _in_others(act, part)):
                yield part


def asking_part(spec: ToolSpec, sentence: str) -> str:
    """The clauses of a sentence that ask for a tool's act, with the further objects of each.

    "Cancel 17 and 18, but tell me about 19" asks for 17 and 18. Empty if only the clauses together ask for it.
    """
    act = Act.of(spec)
    kept, asks = [], False
    for clause in _clauses(_ASIDE.sub(", ", _AND.sub(", ", sentence))):
        if act is not None and not _MORE_OBJECTS.fullmatch(clause):
            asks = _in_english(act, clause) or _in_others(act, clause)
        if asks:
            kept.append(clause)
    return ", ".join(kept)


def statements(text: str) -> str:
    """The sentences of a text that are no questions, refusals or conditions."""
    return "\n".join(
        one
        for one in sentences(text)
        if len(one) <= LONGEST
        and not any(pattern.search(one) for pattern in (_QUESTION, _CONDITION, _LATER, _REFUSAL))
        and not refuses(one)
    )


def _in_english(act: Act, sentence: str) -> bool:
    if _CONDITION.search(sentence) or (act.about is not None and not act.about.search(sentence)):
        return False
    if _LATER.search(sentence) and _PLANNED.isdisjoint(act.verbs):
        return False
    plain, explicit, more = _patterns(act.verbs)
    firm, wished = _QUESTION.search(sentence) is not None, False
    for clause in _clauses(sentence):
        if _holds(explicit if firm else plain, clause) or (wished and not firm and _holds(more, clause)):
            return True
        firm |= _REFUSAL.search(clause) is not None
        wished |= _WISHES.search(clause) is not None
    return False


def _holds(pattern: regex.Pattern[str], clause: str) -> bool:
    """Whether a clause asks for the act. A refusal counts up to the words right after: "cancel nothing", but not
    "cancel the order that has not been sent"."""
    found = pattern.search(clause)
    if found is None or (found.groupdict().get("verb") is not None and _NO_OBJECT.match(clause, found.end("verb"))):
        return False
    return _REFUSAL.search(" ".join([clause[: found.end()], *clause[found.end() :].split()[:2]])) is None


def _in_others(act: Act, sentence: str) -> bool:
    """In German and Chinese. A verb with many objects is not clear enough: the words for its object are unknown."""
    if act.about is not None:
        return False
    question = _QUESTION.search(sentence) is not None
    for patterns in (german(act.verbs), chinese(act.verbs)):
        if patterns is None:
            continue
        if not refuses(sentence) and patterns[question].search(sentence):
            return True
        if any(not refuses(clause) and patterns[1].search(clause) for clause in _clauses(sentence)):
            return True
    return False


def _clauses(sentence: str) -> Iterator[str]:
    return (clause for clause in _CLAUSE.split(sentence) if clause and clause.strip())


@lru_cache(maxsize=1024)
def _patterns(verbs: tuple[str, ...]) -> tuple[regex.Pattern[str], ...]:
    """Patterns of a clause that asks for an act, of one that asks so plainly that it may stand in a question or after a
    refusal, and of one that asks for it where an earlier clause of the sentence was a wish."""
    act = "|".join([joined(verbs), *(phrase for verb in verbs for phrase in _PHRASES.get(verb, ()))])
    done = joined(form for verb in verbs for form in (*participles(verb), *gerunds(verb)))
    nouns = "|".join([*map(noun_of, verbs), *(phrase for verb in verbs for phrase in _NOUNS.get(verb, ()))])
    explicit = (
        rf"{_LEAD}{_EXPLICIT}{_FILLED}(?:(?P<verb>{act})|(?:have|get)\b.{{0,60}}\b(?:{done})"
        rf"|(?:make|give|issue|process|start|do)\b.{{0,40}}\b(?:{nouns}))\b"
        rf"|{_LEAD}(?:can|could|may)\s+(?:i|we)\s+(?:please\s+)?(?:get|have)\s+(?:(?:an?|the|my|our)\s+)?(?:{nouns})\b"
        rf"|{_LEAD}{_WISH}\s+(?:you\s+)?to\s+{_FILLED}(?:{act})\b|\bplease\s+{_FILLED}(?:{act})\b"
    )
    wish = (
        rf"{_LEAD}{_WISH}\b.{{0,60}}\b(?:{done})\b"
        rf"|{_LEAD}{_WISH}\s+(?:to\s+{_FILLED}{_GET}\s+)?{_WHOSE}(?:{nouns})\b"
        rf"|\b(?:go\s+ahead\s+with|proceed\s+with)\s+(?:(?:an?|the|my|our)\s+)?(?:{nouns})\b"
        rf"|\b(?:{nouns})\b.{{0,40}}\bplease\b|^\W*{_FILLED}(?P<verb>{act})\b|{_LEAD}{_FILLED}(?P<verb>{act})\b"
    )
    more = rf"^\W*{_FILLED}(?:{_GET}|want|need)\s+{_WHOSE}(?:{nouns})\b"
    return tuple(regex.compile(one, regex.IGNORECASE) for one in (f"{explicit}|{wish}", explicit, more))
