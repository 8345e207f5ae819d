"""Recognises English statements that a tool's action was done, by past forms of the verbs in the tool's name and
description, or by its ``claims``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import regex

from flightloop.tool import Effect, ToolSpec
from guardrails.text.verbs import BROAD, ELSEWHERE, READS, SURE_READS, SURE_WRITES, SYNONYMS, base, noun_of, participles

LONGEST = 1000
"""Longest clause that is searched as a whole, in characters."""
_NO_VERBS = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "to",
        "is",
        "it",
        "use",
        "used",
        "tool",
        "for",
        "by",
        "on",
        "in",
        "given",
        "with",
        "of",
        "and",
        "or",
        "your",
        "my",
        "mcp",
    ]
)
_PRONOUNS = ("it", "this", "that", "them", "these", "those")
_ADVERBS = r"(?:(?:now|just|already|also|hereby|successfully|meanwhile|then|gone\s+ahead\s+and|[a-z]{1,20}ly)\s+){0,3}"
_PERFORMED = (
    r"(?:issued|processed|initiated|made|completed|submitted|placed|confirmed|arranged|scheduled|finali[sz]ed|triggered|"
    r"executed|performed|carried\s+out|put\s+through|done)"
)
_FINITE = "is|are|was|were|can|may|must|will"
_THIS_ONE = (
    r"(?<=#?\d{3,15}\s|^\W*(?:(?:yes|ok(?:ay)?|done|so)\W+){0,2}"
    r"(?:your|my|his|her|their|this|that|it|the(?=.{1,90}\b(?:for|to)\s))\b[^.!?\n]{0,80}?\b)"
)
"""Before "is booked for Monday": one particular thing, not a rule about all of them."""
_AT_THE_BEGINNING = r"(?<=^\W*(?:(?:yes|ok(?:ay)?|great|so|now|done|sure)\W+){0,2})"
_UNREAL = regex.compile(
    r"\b(?:not|no|none|nothing|never|neither|nor|cannot|unable|without|nobody|if|when|once|whether|unless|until|"
    r"as\s+soon\s+as|in\s+case|please)\b|n['’]t\b",
    regex.IGNORECASE,
)
"""Words that, before a claim, turn it into a negation or a condition."""
_OF_OTHERS = regex.compile(
    r"\b(?:could|would|should|might|may|must|can|will|shall|to|that|which|who)\s+(?:[a-z]{1,20}ly\s+)?$",
    regex.IGNORECASE,
)
"""Words that, directly before a claim, turn it into a possibility or a relative clause."""
_NOT_SO = regex.compile(
    r"^\s*(?:nothing|none|neither)\b|^[^.!?]{0,40}\bby\s+(?:another|others?|someone|somebody|you)\b", regex.IGNORECASE
)
"""Words that, after a claim, turn it into a negation or somebody else's act."""
_COURTESY = regex.compile(r"^\W*(?:no\s+(?:problem|worries)|not\s+a\s+problem|don['’]t\s+worry)\b\W*", regex.IGNORECASE)
_FIRST_PERSON = regex.compile(r"\b(?:I|we)\b", regex.IGNORECASE)
_EMPHASIS = regex.compile(r"[*`~]+|(?<![^\W_])_+|_+(?![^\W_])")
_BLANKS = regex.compile(r"[^\S\n]+")
_SENTENCE = regex.compile(r"(?<=[.!?])[\"')\]*_]*\s+|\n+")
_CLAUSE = regex.compile(
    r"\s*[;:—–]\s+|,?\s+(?:but|however|though|although|while|whereas)\s+"
    r"|,\s+(?:and\s+|so\s+)?(?=(?:[\w'’]+\s){1,4}(?:was|were|is|are|has|have|had|could|can|cannot|will|would)\b)",
    regex.IGNORECASE,
)
_NOT_NOW = regex.compile(
    r"\b(?:not|no|never|nor|without|instead|stop|undo|if|when|whether|unless|later|next\s+(?:week|month|time|year)|"
    r"thanks?(?:\s+you)?\s+again)\b|n['’]t\b",
    regex.IGNORECASE,
)
"""A sentence with one of these words doesn't request anything now."""
_LEAD = (
    r"^\W*(?:(?:yes|ok(?:ay)?|please|and|then|now|so|well|also|hi|hello|hey|great|thanks|thank\s+you|just)\W+){0,4}"
    r"(?:(?:can|could|would|will)\s+(?:you|we)\s+|(?:i|we)(?:['’]d|\s+would)?\s+(?:like|want|need|have)\s+(?:you\s+)?to\s+"
    r"|let['’]?s\s+|go\s+ahead\s+and\s+|(?:i|we)\s+ask\s+you\s+to\s+)?"
    r"(?:(?:please|just|now|also|kindly)\s+)*"
)
"""Beginning of a request, up to its verb."""
_AGAIN = regex.compile(
    _LEAD + r"(?:do\s+(?:it|that|this|the\s+same)\s+)?(?:again|once\s+more|one\s+more\s+time|another\s+time)\b"
    r"[^a-z]*+(?:please\W*+)?$",
    regex.IGNORECASE,
)

_WRITES = regex.compile(
    rf"\b(?:{'|'.join(SURE_WRITES)})(?:e?s)?\b|\b(?:and|or|then|also|to)\s+(?:{'|'.join(ELSEWHERE)})(?:e?s)?\b",
    regex.IGNORECASE,
)
"""Words for writes in the name and description of a tool. Some are nouns too ("the refund"), unless "and" precedes."""


@dataclass(frozen=True)
class Claim:
    """A sentence, its clause that says an action was done, and the word for the action, such as "cancelled"."""

    sentence: str
    clause: str
    words: str
    standing: bool = False
    """Whether it says how things stand ("you're booked for Monday", "Ann is"); that may be an answer."""


@dataclass(frozen=True)
class Act:
    """English wordings for an action, usually that of a tool that changes something."""

    said: regex.Pattern[str]
    """Matches statements that the action was done."""
    named: regex.Pattern[str]
    """Matches past forms as they occur in a result: ``cancelled``, the status of an order."""
    wanted: regex.Pattern[str]
    """Matches a user's request for the action."""
    verbs: tuple[str, ...]
    """Verbs of the action in their base form."""
    past: tuple[str, ...]
    """Phrases that say the action was done: past forms of the verbs, or the phrases of ``claims``."""
    standing: regex.Pattern[str] | None = None
    """Matches statements that the user is one for whom it was done: "you're booked for Monday"."""
    about: regex.Pattern[str] | None = None
    """For verbs with many objects (`BROAD`): a clause must contain one of these words. None: every clause counts."""

    @classmethod
    def by_verbs(cls, verbs: Sequence[str]) -> Act:
        """Builds an act with these verbs that belongs to no tool."""
        past = [form for verb in verbs for form in participles(verb)]
        return cls(
            said=_any_of(_forms(joined(past), verbs)),
            named=_any_of(map(_phrase, past)),
            wanted=_requests(verbs, []),
            verbs=tuple(verbs),
            past=tuple(past),
        )

    @classmethod
    def of(cls, spec: ToolSpec) -> Act | None:
        """The act of a tool; None if its name and description have no verb, or another agent performs its calls."""
        return None if spec.agent is not None else _act(spec.name, spec.description, spec.claims)

    def claims(self, text: str) -> Iterator[Claim]:
        """Statements of a text that the action was done."""
        return self.claims_in(clauses_of(text))

    def claims_in(self, clauses: Iterable[tuple[str, str]]) -> Iterator[Claim]:
        """Like ``claims``, for a result of ``clauses_of``, which callers can reuse for all tools."""
        for sentence, clause in clauses:
            if self.about is not None and not self.about.search(clause):
                continue
            if (words := self._claimed(self.said, clause)) is not None:
                yield Claim(sentence, clause, words)
            elif self.standing is not None and (words := self._claimed(self.standing, clause)) is not None:
                yield Claim(sentence, clause, words, standing=True)

    @staticmethod
    def _claimed(pattern: regex.Pattern[str], clause: str) -> str | None:
        for match in pattern.finditer(clause):
            before, after = clause[: match.start()], clause[match.end() :]
            if not (_UNREAL.search(before) or _OF_OTHERS.search(before) or _NOT_SO.match(after)):
                return match.group().split()[-1].casefold()
        return None

    def told_in(self, text: str) -> bool:
        """Whether an error says that the action was already done: "it is cancelled already", but not "it can't be"."""
        return any(
            not (_UNREAL.search(before) or _OF_OTHERS.search(before))
            for match in self.named.finditer(text)
            if (before := text[max(0, match.start() - 100) : match.start()]) is not None
        )

    def wanted_in(self, text: str) -> bool:
        """Whether the user's text requests this action now: a request that uses one of its verbs, or just "again".

        Mentions, prohibitions and questions about whether it was already done don't count.
        """
        return next(self.requests_in(text), None) is not None

    def requests_in(self, text: str) -> Iterator[str]:
        """The sentences of the user's text that request this action now (`wanted_in`)."""
        for sentence in sentences(text):
            if not _NOT_NOW.search(sentence) and (self.wanted.search(sentence) or _AGAIN.search(sentence)):
                yield sentence


def only_reads(spec: ToolSpec) -> bool:
    """Whether a tool's name and description say that it only reads, for tools that don't declare their effect."""
    verbs = {*_verbs(_words(spec.name), spec.description)}
    return bool(verbs) and verbs <= READS


def changes_something(spec: ToolSpec) -> bool:
    """Whether a tool's calls count as writes. One that does not declare its effect is taken by its verbs: it reads only
    if they can hardly mean anything else."""
    return spec.writes and not (spec.effect is Effect.UNSAFE and _surely_reads(spec.name, spec.description))


@lru_cache(maxsize=1024)
def _surely_reads(name: str, description: str) -> bool:
    words = _words(name)
    verbs = {*_verbs(words, description)}
    if words[:1] == ["check"] and "status" in words:
        verbs -= {"check"}
    elif not verbs:
        return False
    return verbs <= SURE_READS and not _WRITES.search(f"{' '.join(words)}. {description}")


def sentences(text: str) -> list[str]:
    text = _BLANKS.sub(" ", _EMPHASIS.sub("", text))
    return [sentence.strip(" \"')*_") for sentence in _SENTENCE.split(text) if sentence.strip()]


def clauses_of(text: str) -> list[tuple[str, str]]:
    """The clauses of a text that aren't questions, each with its sentence before it."""
    asserting = (sentence for sentence in sentences(text) if not sentence.endswith("?"))
    return [(sentence, clause) for sentence in asserting for clause in _clauses(sentence)]


def in_first_person(sentence: str) -> bool:
    """Whether a sentence is in the first person ("I", "we")."""
    return _FIRST_PERSON.search(sentence) is not None


def _clauses(sentence: str) -> Iterator[str]:
    for clause in _CLAUSE.split(_COURTESY.sub("", sentence)):
        for start in range(0, len(clause), LONGEST):
            yield clause[start : start + LONGEST]


@lru_cache(maxsize=1024)
def _act(name: str, description: str, claims: tuple[str, ...]) -> Act | None:
    words = _words(name)
    verbs = [verb for verb in dict.fromkeys(_verbs(words, description)) if len(verb) > 1 and verb not in _NO_VERBS]
    verbs += [other for group in SYNONYMS if {*group} & {*verbs} for other in group if other not in verbs]
    phrases = [claim for claim in claims if " " in claim]
    past = [claim for claim in claims if " " not in claim] or [form for verb in verbs for form in participles(verb)]
    if not past and not phrases:
        return None
    broad = not claims and set(verbs) <= BROAD and len(words) > 1
    return Act(
        said=_any_of([*_forms(joined(past), verbs), *map(_phrase, phrases)]),
        named=_any_of(map(_phrase, [*past, *phrases])),
        wanted=_requests(verbs, [*past, *phrases] if claims else []),
        verbs=tuple(verbs),
        past=(*past, *phrases),
        standing=_any_of([_standing(joined(past))]) if past else None,
        about=_any_of(map(_phrase, [*words[1:], *_PRONOUNS])) if broad else None,
    )


def _forms(past: str, verbs: Sequence[str]) -> Iterator[str]:
    have = r"(?:['’]ve|\s+have)?\s+"
    if past:
        yield rf"(?:I|we){have}{_ADVERBS}(?:{past})"
        yield rf"{_AT_THE_BEGINNING}you(?:['’]ve|\s+have)\s+{_ADVERBS}(?:{past})"  # by now
        yield rf"(?:has|have|['’]ve)\s+{_ADVERBS}been\s+{_ADVERBS}(?:{past})"
        yield rf"(?:was|were)\s+{_ADVERBS}(?:{past})"
        yield rf"(?:is|are|['’]s)\s+(?:now|already|hereby|successfully)\s+{_ADVERBS}(?:{past})"
        yield rf"(?:is|['’]s)\s+(?:{past})(?=\s*(?:[.!,]|$|until\b|as\s+(?:you\s+)?requested\b|for\s+you\b))"
        when = r"(?=\s+(?:for|on|at|with|to)\s+(?:\d|(?-i:[A-Z])))(?!.*\b(?:if|when|unless)\b)"
        yield rf"{_THIS_ONE}is\s+(?:{past}){when}"
        yield rf"successfully\s+(?:{past})"
        yield rf"(?:I|we)(?:['’]ve|\s+have)\b[^.!?]{{0,200}}?\band\s+(?:have\s+)?(?:also\s+)?(?:{past})"
        yield rf"(?:got|are|is|consider\s+it)\s+(?:{past})(?=\s+now\b|\W*$)"
        yield rf"(?<=^\W*(?:(?:yes|just|all|ok(?:ay)?)\W+)*)(?:{past})(?=\s+it\b|\W*$)"
        # A sentence that begins with the past form, unless a verb follows, as in "Cancelled orders are refunded".
        yield rf"(?<=^\W*)(?:{past})(?=\s+(?:your|the|it|until|#?\d|(?-i:[A-Z])))(?!.*\b(?-i:{_FINITE})\b)"
    if verbs:
        yield rf"(?:I|we)\s+(?:managed|was\s+able|were\s+able)\s+to\s+(?:{joined(verbs)})"
        noun = "|".join(map(noun_of, verbs))
        between = r"\s+(?:[\w.,€$£]{1,30}\s+)"
        yield rf"(?:I|we){have}{_ADVERBS}{_PERFORMED}{between}{{0,4}}(?:{noun})"
        yield rf"(?:{noun})\b[^.!?]{{0,60}}?\b(?:went\s+through|successful|complete|is\s+done)"
        yield rf"(?:{noun}){between}{{0,6}}(?:(?:has|have)\s+been|was|were|is\s+now|is)\s+{_ADVERBS}{_PERFORMED}"


def _standing(past: str) -> str:
    who = r"(?:you(?:['’]re|\s+are)|(?-i:(?<=^\W*)(?:\p{Lu}[\p{L}'’-]*\s){1,3})is)"
    return rf"{who}\s+{_ADVERBS}(?:{past})(?=\s+(?:for|on|in|into|onto|at|to|with|from)\b|\W*$)"


def _requests(verbs: Sequence[str], others: Sequence[str]) -> regex.Pattern[str]:
    """Pattern of requests ("renew it", "I'd like another renewal"). ``others``: phrases that match anywhere."""
    nouns = "|".join(map(noun_of, verbs)) or "(?!)"
    forms = [
        rf"{_LEAD}(?:{joined(verbs) or '(?!)'})\b",
        rf"\b(?:another|one\s+more|an?|the)\s+(?:{nouns})\b[^.!?]{{0,40}}\bplease\b",
        rf"\b(?:i|we)(?:['’]d|\s+would)?\s+(?:like|want|need)\s+(?:another|one\s+more|an?|the)?\s*(?:{nouns})\b",
        *(rf"\b{_phrase(one)}\b" for one in others),
    ]
    return regex.compile("|".join(f"(?:{form})" for form in forms), regex.IGNORECASE)


def _words(name: str) -> list[str]:
    return [word.casefold() for word in regex.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def _verbs(words: Sequence[str], description: str) -> Iterator[str]:
    """The first word of a tool's name and of its description: ``renew_loan``, "Renews a loan."."""
    yield from words[:1]
    first = regex.match(r"\W{0,10}([A-Za-z]{2,24})\b", description)
    if first:
        yield base(first[1].casefold())


def _phrase(words: str) -> str:
    return r"\s+".join(map(regex.escape, words.split()))


def joined(words: Iterable[str]) -> str:
    """Regular expression that matches any of the words and phrases."""
    return "|".join(map(_phrase, words))


def _any_of(patterns: Iterable[str]) -> regex.Pattern[str]:
    return regex.compile(rf"\b(?:{'|'.join(patterns)})\b", regex.IGNORECASE)
