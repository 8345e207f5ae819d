"""Detects calls that the user's latest words forbid ("don't cancel it", "move it without cancelling", "leave 203
alone") or only ask about ("is it cancelled?").

Only clear wordings count. If it is unclear which call is meant, a person decides. Calls with other arguments
than the forbidden ones ("don't cancel 203 but 204") pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import regex

from flightloop.verdicts import Verdict
from guardrails.aside import aside
from guardrails.evidence.acts import LONGEST, Act, joined, sentences
from guardrails.evidence.affirmations import asks_whether
from guardrails.evidence.named_objects import NamedObjects
from guardrails.evidence.ruled_out import divided
from guardrails.policy_document import PolicyDocument
from guardrails.text.scalars import scalar_texts
from guardrails.text.spelling import most_characters
from guardrails.text.verbs import gerunds, participles
from guardrails.text.words import plain, plain_values
from guardrails.types import Checked, CheckedCall, Judgement, Rail

LABEL = "forbidden"
_NOT = r"(?:do\s+not|don['’]?t|never|please\s+not|rather\s+not)"
_MAY_NOT = r"(?:must|should|may|shall)(?:\s+not|n['’]t)"
_OTHERS = regex.compile(
    r"\b(?:i|we|they|he|she|people|who|why|(?<!\bthat\s)you|is|are|was|were|has|have|had|been)\s+(?:\w{1,20}ly\s+)?$",
    regex.IGNORECASE,
)
"""Words directly before a verb that make a habit or a suggestion ("I never cancel", "why don't you")."""
_EITHER_WAY = regex.compile(r"\b(?:or|whether|why)\s+$", regex.IGNORECASE)
_ADVERBS = r"(?:(?:ever|please|yet|now|go\s+and|actually|dare\s+to|dare|\w{1,20}\s+or)\s+){0,2}"
_ONLY = regex.compile(
    r"\s+(?:but|except(?:\s+for)?|other\s+than|apart\s+from|instead|rather)\b|[.!?;\n]\s", regex.IGNORECASE
)
"""Ends the forbidden part of a sentence."""
_LET_BE = regex.compile(
    r"\b(?:leave|keep)\s+([^.!?;\n]{1,60}?)\s+(?:alone|untouched|unchanged|as\s+(?:it|they)\s+(?:is|are))\b"
    r"|\b(?:do\s+not|don['’]?t|never)\s+touch\s+([^.!?;\n]{1,60})",
    regex.IGNORECASE,
)
_NO_BAN = (
    r"(?:forget|hesitate|fail|miss|mind|know|sure|certain|only|just|too|far|yet|able|arrived?|come|reach(?:ed)?"
    r"|received?|got|get|been\s+(?:sent|shipped|delivered))\b"
)
"""Words after "not" that rule nothing out: "don't forget", "it has not arrived"."""
_NOT_THERE = regex.compile(
    rf"\b(?:{_NOT}|(?<!\b(?:could|can)\s)not|no\s+longer)\s(?!\s{{0,9}}{_NO_BAN})([^,;:.!?\n]{{1,120}})",
    regex.IGNORECASE,
)
_RATHER_THERE = regex.compile(
    r"\s+and\s+(?:\w{1,20}\s+){0,2}?(?:use|send|ship|deliver|take|change|live|moved?|going)\b.*", regex.IGNORECASE
)
"""Ends such a part too: "don't send it to … and use …"."""
_NUMBER = regex.compile(r"\d+")
_DATED = regex.compile(r"\d+(?: \d+)+")
_NAME = regex.compile(r"(?<!^)(?<![.!?]\s)\b[^\W\d_a-z]\p{L}+")
"""A capitalised word that doesn't begin a sentence."""


def forbidden_rail(document: PolicyDocument) -> Rail:
    """Checks that the user's latest words don't forbid a call, or only ask about it."""
    action, harmless = document.tools.forbidden_writes, document.tools.harmless

    async def check(checked: Checked) -> Judgement:
        call = checked.call
        if call is None or not call.spec.writes or call.spec.agent is not None or call.spec.name in harmless:
            return Judgement()
        asked = (await checked.context.past(call.args_sha256)).asked
        characters = most_characters(asked) + sum(map(most_characters, scalar_texts(call.arguments)))
        reason = await aside(characters, why_not, asked, call)
        if reason is None:
            return Judgement()
        verdict = Verdict(action=action, rail="forbidden", stage=checked.stage, reason=reason, labels=[LABEL])
        return Judgement((verdict,))

    return check


def why_not(asked: str, call: CheckedCall) -> str | None:
    """Reason why the user's latest text rules out a call: it forbids the call or only asks about it. None otherwise."""
    if forbids(asked, call):
        return "the user's latest words forbid it"
    if place := _not_there(asked, call):
        return f"the user's latest words say not to use {place}"
    act = Act.of(call.spec)
    if act is not None and _ruled_out(asked, act, call):
        return "the user's latest words rule out what it is about"
    if act is not None and asks_whether(asked, act):
        return "the user's latest words ask whether it was done; they do not request it"
    return None


def forbids(asked: str, call: CheckedCall) -> bool:
    """Whether the user's latest text forbids a call."""
    act = Act.of(call.spec)
    if act is None or not act.verbs:
        return False
    values = plain_values(call.arguments)
    said = sentences(asked)
    if any(values & _within(match[1] or match[2], values) for one in said for match in _LET_BE.finditer(one)):
        return True
    banned, rest = _divided(said, act, values)
    return bool(banned) and any(_means(one, values) for one in banned) and not _wants(rest, act, banned, values)


def _ruled_out(asked: str, act: Act, call: CheckedCall) -> bool:
    """Whether the user names the call's object only to leave it out: "cancel 203, not 204"."""
    named = NamedObjects.of(call)
    parts = [divided(named.whole(one), act.verbs) for one in sentences(asked)]
    return any(out and named.mentioned_in(out) for _, out in parts) and not any(
        named.mentioned_in(kept) for kept, _ in parts
    )


def _not_there(asked: str, call: CheckedCall) -> str | None:
    """A destination that the user rules out: "don't send it to 5 Hill Road". An address is known by its first line."""
    places = [text for name in call.spec.sinks for text in scalar_texts(call.arguments.get(name, ""))]
    first = {plain(text.split(",")[0]): text for text in places}
    for sentence in sentences(asked):
        for match in _NOT_THERE.finditer(sentence):
            if _EITHER_WAY.search(sentence[max(0, match.start() - 40) : match.start()]):
                continue
            clause = f" {plain(_RATHER_THERE.sub('', _ONLY.split(match[1])[0]))} "
            for line, text in first.items():
                if " " in line and f" {line} " in clause:
                    return text
    return None


@dataclass(frozen=True)
class _Rest:
    """Text outside the forbidden parts. ``other``: the text begins with an exception to such a part ("but …")."""

    text: str
    other: bool


def _divided(said: Iterable[str], act: Act, values: frozenset[str]) -> tuple[list[str], list[_Rest]]:
    """Splits sentences into forbidden clauses and the rest."""
    banned, rest = [], []
    pattern, verb = _forbidding(act.verbs)
    for sentence in said:
        at = 0
        for match in pattern.finditer(sentence):
            if match.start() < at or _spoken_of(sentence[max(0, match.start() - 40) : match.start()], match):
                continue
            last = min(len(sentence), match.end() + LONGEST)
            ends = _ONLY.search(sentence, match.end(), last), verb.search(sentence, match.end(), last)
            end = min((one.start() for one in ends if one), default=last)
            clause = sentence[match.end() : end]
            if act.about is not None and not act.about.search(clause) and not _within(clause, values):
                continue
            banned.append(clause)
            rest.append(_Rest(sentence[at : match.start()], other=False))
            at = end
        rest.append(_Rest(sentence[at:], other=_ONLY.match(sentence, at) is not None))
    return banned, rest


def _spoken_of(before: str, match: regex.Match[str]) -> bool:
    return (match["plain"] is not None and _OTHERS.search(before) is not None) or _EITHER_WAY.search(before) is not None


@lru_cache(maxsize=1024)
def _forbidding(verbs: tuple[str, ...]) -> tuple[regex.Pattern[str], regex.Pattern[str]]:
    """Patterns of prohibitions with these verbs, and of the verbs alone."""
    base, doing = joined(verbs), joined(form for verb in verbs for form in gerunds(verb))
    done = joined(form for verb in verbs for form in participles(verb))
    to_do = rf"(?:(?:you|anyone|anybody|us)\s+)?to\s+(?:{base})"
    forms = [
        rf"(?P<plain>{_NOT}\s+{_ADVERBS}(?:{base}))",
        rf"(?:do\s+not|don['’]?t|no\s+longer)\s+(?:want|wish|need|like)\s+{to_do}",
        rf"(?:do\s+not|don['’]?t)\s+want\s+(?:[\w.]{{1,30}}\s+){{1,5}}(?:to\s+be\s+)?(?:{done})",
        rf"not\s+to\s+(?:{base})",
        rf"to\s+not\s+(?:{base})",
        rf"(?:without|instead\s+of|rather\s+than|avoid|refrain\s+from|stop)\s+(?:{doing})",
        rf"{_MAY_NOT}\s+(?:{_ADVERBS}(?:{base})|be\s+(?:{done}))",
    ]
    verb = rf"[,\s](?:and\s+|please\s+|just\s+|to\s+)*+(?:{base})"
    every = rf"\b(?:{'|'.join(forms)})\b"
    return regex.compile(every, regex.IGNORECASE), regex.compile(rf"{verb}\b", regex.IGNORECASE)


def _within(text: str, values: Iterable[str]) -> frozenset[str]:
    spaced = f" {plain(text)} "
    return frozenset(value for value in values if f" {value} " in spaced)


def _means(clause: str, values: frozenset[str]) -> bool:
    """Whether a forbidden clause may mean this call. False if the clause names other values of the same kinds."""
    return bool(_within(clause, values)) or _kinds(_named(clause)).isdisjoint(_kinds(values))


def _named(clause: str) -> Iterator[str]:
    yield from (plain(match.group()) for match in _NAME.finditer(clause))
    yield from _DATED.findall(plain(clause)) or _NUMBER.findall(plain(clause))


def _kinds(values: Iterable[str]) -> frozenset[str]:
    """Rough kinds of values: a number, groups of digits (a date, a time), words."""
    return frozenset(
        "number" if value.isdecimal() else "date" if _DATED.fullmatch(value) else "words" for value in values
    )


def _wants(rest: Iterable[_Rest], act: Act, banned: Iterable[str], values: frozenset[str]) -> bool:
    """Whether the rest requests the call with a value that no forbidden clause names."""
    free = values.difference(*(_within(clause, values) for clause in banned))
    return any(_within(one.text, free) and (one.other or act.wanted_in(one.text)) for one in rest)
