"""Finds answers that say yes to the question whether something was done: "did that work?" – "Yes, it did."."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import regex

from guardrails.evidence.acts import LONGEST, Act, joined, sentences
from guardrails.evidence.done_acts import CallTexts
from guardrails.evidence.identifiers import RECORD, identifiers
from guardrails.text.words import plain, plain_values
from guardrails.types import GuardContext, Past, Write

_YES = regex.compile(
    r"^\W*(?:(?:yes|yeah|yep|yup|sure|certainly|absolutely|definitely|indeed|of\s+course|correct|right|ja|jawohl)\b(?!\?)"
    r"|(?:it|that|they|both|all|everything)(?:\s+of\s+(?:it|them|those|that))?\s+"
    r"(?:did|worked|has|have|was|were|is|are|went\s+(?:through|well|fine))(?:\s+(?:now|already|fine|well|too|both))?\s*(?:[.!,;]|$))",
    regex.IGNORECASE,
)
_OFFER = regex.compile(
    r"^\W*\w+(?:\s+course)?\W+(?:(?:i|we|you)(?:['’]ll|['’]d|\s+(?:can|could|will|would|shall|should|may|might|need)"
    r"|['’]?\s?a?m\s+going)|let\s+me|please|which|what|when|who)\b",
    regex.IGNORECASE,
)
"""A yes that offers help says nothing about what was done."""
_BUT = regex.compile(
    r"\b(?:not|no|never|none|nothing|neither|cannot|unable|fail(?:s|ed|ure)?|denied|refused|rejected|errors?|sorry|"
    r"unfortunately|but|except|however|only|although|nicht|kein\w{0,3}|leider|konnten?|aber|nur)\b|n['’]t\b",
    regex.IGNORECASE,
)
"""Words with which an answer isn't a bare yes. The claims of such an answer are checked as in any other."""
_LEAD = (
    r"^\W*+(?:(?:so|and|ok(?:ay)?|well|but|great|good|perfect|thanks?(?:\s+you)?|hi|hello|hey|now|then|also|yes|no|please|"
    r"und|also)\W+){0,4}"
)
_WORD = r"(?:[\w.'’#-]{1,40}\s+)"
_WE = r"(?:it|that|this|they|these|those|both|all|everything)(?:\s+of\s+(?:it|that|this|them|these|those))?(?:\s+all)?"
_SURE = (
    r"(?:work(?:ed)?|go(?:ne)?\s+(?:through|well)|went\s+(?:through|well)|succeed(?:ed)?|successful|"
    r"(?:been\s+)?(?:done|saved|sorted(?:\s+out)?|settled|completed?|finished|taken\s+care\s+of))"
)
_WORKED = regex.compile(
    rf"{_LEAD}(?:(?:did|has|have|is|are|was|were)(?:n['’]t)?\s+(?:(?:{_WE}|the\s+(?:change|update|request|rest)s?)"
    rf"\s+(?:\w{{1,20}}\s+){{0,2}}?{_SURE}|you\s+(?:\w{{1,20}}\s+){{0,2}}?(?:done|saved|sorted|finished|completed)"
    r"(?:\s+(?:it|that|this|them|everything|all))?\W*$)"
    rf"|{_WE}\s+(?:worked|went\s+(?:through|well))\b.*\?"
    r"|(?:(?:all|it['’]?s|that['’]?s|is)\s+){0,2}(?:done|saved|sorted|settled|worked)\s*(?:now|then|already)?\W*\?"
    r"|(?:hat|haben|ist|sind|wurden?)\s+(?:das|es|alles|beides|dies|sie)\s+(?:\w{1,20}\s+){0,3}?"
    r"(?:geklappt|funktioniert|erledigt|gespeichert|durchgegangen|gemacht|fertig)\b)",
    regex.IGNORECASE,
)
_FINE = regex.compile(
    rf"{_LEAD}(?:did|is|was|has)\s+{_WE}\s+(?:happen(?:ed)?|all\s+right|ok(?:ay)?|fine|in\s+order)\W*$",
    regex.IGNORECASE,
)
"""Questions such as "is it all right?". If no call was made, a yes to one of them is not a claim."""
_TWO = regex.compile(r"\b(?:both|two|beides?)\b", regex.IGNORECASE)
_GENERAL = regex.compile(
    r"\b(?:if|when|whenever|usually|always|automatically|normally|generally|ever|each|every|per|within|who|how|why|where|"
    r"what|which|would|could|should|can|will|might|must)\b",
    regex.IGNORECASE,
)
"""Words of questions about rules, or about something other than whether an action was done."""
_OTHER = regex.compile(
    rf"{_LEAD}(?:can|could|do|does|is|are|will|would|may|should|shall|am|must)\b.*\?$", regex.IGNORECASE
)
_LAST = 10
"""Number of latest questions, and of latest failed calls, that are checked."""


@dataclass(frozen=True)
class Yes:
    """A yes and the question that it answers.

    Attributes:
        sentence: the answer's sentence that says yes.
        question: the user's question.
        acts: the acts that the question asks about, by tool; empty for "was it done?".
    """

    sentence: str
    question: str
    acts: Mapping[str, Act]

    @classmethod
    def of(cls, text: str, asked: str, acts: Mapping[str, Act]) -> Yes | None:
        """The yes in an answer; None if there is no bare yes, or if the user's latest words ask something else."""
        said = yes_in(text)
        questions = [one for one in sentences(asked)[-_LAST:] if len(one) <= LONGEST] if said else []
        done = [(one, found) for one in questions if (found := _asks(one, acts)) is not None]
        asking = {one for one, _ in done}
        if said is None or not done or any(_OTHER.match(one) for one in questions if one not in asking):
            return None
        question, found = done[-1]
        return cls(said, question, found)

    def borne_out(self, context: GuardContext, past: Past, texts: CallTexts) -> bool:
        if self.acts:
            return any(self._done(act, tool, context, past, texts) for tool, act in self.acts.items())
        last = last_writes(context, past)
        if not last:
            return _FINE.match(self.question) is not None or any(not refused for refused, _ in texts.parts)
        return not _standing(last) and (_TWO.search(self.question) is None or self._two(context, past, last))

    def _two(self, context: GuardContext, past: Past, last: Sequence[Write]) -> bool:
        """Whether two different calls succeeded, among the last ones or in the whole session."""
        every = (*past.writes, *past.delegated, *context.writes)
        return any(len({one.args_sha256 for one in some if one.ok}) > 1 for some in (last, every))

    def _done(self, act: Act, tool: str, context: GuardContext, past: Past, texts: CallTexts) -> bool:
        calls = [one for one in (*past.writes, *past.delegated, *context.writes) if one.tool == tool]
        words = f" {plain(self.question)} "
        named = [one for one in calls if any(f" {value} " in words for value in plain_values(one.arguments))]
        numbers = identifiers(self.question)
        if not named and (not calls or numbers):
            return texts.says(act, numbers, wanted=False)
        calls = named or calls
        failed = _standing([one for one in calls if one.run_id == calls[-1].run_id])
        return not failed or any(_said_of(act, one, texts) for one in failed[:_LAST])


def yes_in(text: str) -> str | None:
    """The sentence of an answer that says yes, unless the next one contradicts it."""
    if _YES.match(text[:200]) is None or _OFFER.match(text[:200]):
        return None
    first, *more = sentences(text[:1000])[:2] or [""]
    if first.endswith("?") or any(map(_BUT.search, (first, *more))):
        return None
    return first


def last_writes(context: GuardContext, past: Past) -> list[Write]:
    """The writes of this run; if there are none, those of the latest earlier user request that led to any."""
    own = [*past.delegated, *context.writes]
    return own or [one for one in past.writes if one.run_id == past.writes[-1].run_id]


def asks_whether(asked: str, act: Act) -> bool:
    """Whether the user's text asks if an action was done, without requesting it."""
    said = [one for one in sentences(asked) if len(one) <= LONGEST]
    questions = [one for one in said[-_LAST:] if not _GENERAL.search(one) and _asks_for(act, one)]
    others = (one for one in said if one not in questions)
    return bool(questions) and not any(_doing(act.verbs).search(one) for one in others)


@lru_cache(maxsize=1024)
def _doing(verbs: tuple[str, ...]) -> regex.Pattern[str]:
    return regex.compile(rf"\b(?:{joined(verbs) or '(?!)'}|again)\b", regex.IGNORECASE)


def _asks(sentence: str, acts: Mapping[str, Act]) -> dict[str, Act] | None:
    """The acts that a question asks about; None if it doesn't ask whether something was done."""
    if _GENERAL.search(sentence):
        return None
    found = {tool: act for tool, act in acts.items() if _asks_for(act, sentence)}
    return found if found or _WORKED.match(sentence) or _FINE.match(sentence) else None


def _asks_for(act: Act, sentence: str) -> bool:
    if act.about is not None and not act.about.search(sentence):
        return False
    return _questions(act.verbs, act.past).match(sentence) is not None


@lru_cache(maxsize=1024)
def _questions(verbs: tuple[str, ...], own: tuple[str, ...]) -> regex.Pattern[str]:
    """Matches questions about whether something was done, built from a tool's verbs and its past forms."""
    past = joined(own)
    meant = r"(?:it|that|this|they|these|those|both|all|everything|my|our|the|your|#?\d+|(?-i:[A-Z]))"
    forms = [
        rf"(?:have|has|had|was|were)(?:n['’]t)?\s+{_WORD}{{1,8}}?(?:{past})\b",
        rf"(?:is|are)(?:n['’]t)?\s+(?={meant}){_WORD}{{1,8}}?(?:{past})\b",
        r"(?:it|that|this|they|you)(?:['’](?:s|ve|re)|\s+(?:is|was|are|were|has|have))?"
        rf"\s+(?:(?:now|already|been|just|really|\w{{1,20}}ly)\s+){{0,3}}(?:{past})\b.*\?$",
        rf"(?:(?:all|both)\s+)?(?:{past})(?:\s+(?:it|now|already|then|yet))?\W*\?$",
    ]
    if verbs:
        forms.append(rf"did(?:n['’]t)?\s+{_WORD}{{1,6}}?(?<!\bto\s)(?:{joined(verbs)})\b")
    return regex.compile(rf"{_LEAD}(?:{'|'.join(forms)})", regex.IGNORECASE)


def _standing(writes: Sequence[Write]) -> list[Write]:
    """Failed calls, latest first, unless a later call of the same tool with one of their arguments succeeded."""
    failed, good = [], dict[str, set[str]]()
    for write in reversed(writes):
        values = {*plain_values(write.arguments), write.args_sha256}
        if write.ok:
            good.setdefault(write.tool, set()).update(values)
        elif values.isdisjoint(good.get(write.tool, ())):
            failed.append(write)
    return failed


def _said_of(act: Act, write: Write, texts: CallTexts) -> bool:
    """Whether a call's error, or a record with one of its arguments, says that the action was already done."""
    if act.told_in(write.result):
        return True
    values = plain_values(write.arguments)
    records = (match.group() for refused, text in texts.parts if not refused for match in RECORD.finditer(text))
    return any(
        act.named.search(record) is not None and any(f" {value} " in f" {plain(record)} " for value in values)
        for record in records
    )
