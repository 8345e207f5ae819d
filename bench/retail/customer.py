"""A scripted customer without a model: the same answers of the agent get the same replies.

Customers open with the reason for their call, answer questions, agree when asked to confirm, and leave when the agent
has done something and asks nothing more. They don't negotiate, don't check answers, and take no initiative: tasks that
need this can't be solved with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from bench.retail.facts import UNKNOWN, Facts, topics
from bench.retail.tasks import Instructions
from bench.retail.wording import first_person, sentences, stems

YES = "Yes, please."
AGAIN = "Is anything left of what I asked for? Then please go on with it."
PATIENCE = 3
"""After this many answers in a row without progress, or with the same text, the customer leaves."""

_CUE = re.compile(
    r"^(?:but )?(?:if|when|once) (?:the agent asks|(?:you are |you're |being )?asked)(?: you)? (?:for |to |about )?"
    r"(?P<about>[^,]+), ?(?:then )?(?:(?:you )?(?:say|mention|provide|tell (?:it|the agent))(?: that)? )?(?P<said>.+)$",
    re.IGNORECASE,
)
"""Matches instructions on what to say once the agent asks for something."""
_MANNER = re.compile(
    r"^mention\b|\b(?<!you )(?:do not|don['’]t) (?:reveal|share|mention|tell)\b"
    r"|^(?:but )?(?:make sure|be|never|try)\b.*\b(?:mention|say|tell|reveal|share|sound|insistent|polite|confusing)\b",
    re.IGNORECASE,
)
"""Matches instructions on how to behave, which a customer wouldn't say."""
_ASKS = re.compile(
    r"\?|\b(?:please|(?:could|can|would) you|may i|provide|need|tell me|let me know|share|verify|confirm|reply)\b",
    re.IGNORECASE,
)
_IDENTITY = "first|last|full|name|e-?mail|zip|identity|user|customer|account|order (?:id|number)|reason|payment|address"
_CONFIRM = re.compile(
    rf"\bconfirm\w*\b(?! (?:your |the |me )?(?:{_IDENTITY}))|\b(?:proceed|go ahead|are you sure|yes/no|yes or no)\b"
    r"|\b(?:do you want|would you like) me to\b|\b(?:shall|should) i\b|\b(?:correct|right|okay|ok)\?|\(yes",
    re.IGNORECASE,
)
_CLOSING = re.compile(r"\b(?:any|some)thing else\b|\bfurther (?:assistance|help|questions)\b", re.IGNORECASE)
_OPEN = re.compile(
    r"\bhow (?:can|may) i (?:help|assist)\b|\bwhat (?:would you like|do you want|can i do|is your request)\b",
    re.IGNORECASE,
)
_DONE = re.compile(
    r"\b(?:is|are|was|were|i|i have|i['’]ve|(?:has|have) been)(?: now| successfully| already)* (?:cancell?ed|returned|"
    r"exchanged|modified|updated|changed|processed|requested|submitted|refunded|placed|completed?)\b|\bdone\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Cue:
    """A reply to a certain question, used once."""

    about: frozenset[str]
    said: str


@dataclass
class Customer:
    """The customer of one conversation. ``opening`` is the first message; ``reply`` returns the next ones."""

    opening: str
    facts: Facts
    cues: list[Cue] = field(default_factory=list)
    _lost: int = field(default=0, init=False)
    _heard: str | None = field(default=None, init=False)

    @classmethod
    def of(cls, instructions: Instructions) -> Customer:
        """The customer described by a task. Of instructions on behaviour, only conditional replies are used."""
        wishes = [line for line in sentences(instructions.reason_for_call) if not _MANNER.search(line)]
        wishes += [line for line in sentences(instructions.task_instructions or "") if re.match("(?i)if |when ", line)]
        cues = [cue for line in wishes if (cue := _cue(line))]
        said = [line for line in wishes if not _cue(line)] or sentences(instructions.reason_for_call)
        return cls(" ".join(map(first_person, said)), Facts.of(instructions, said), cues)

    def reply(self, answer: str) -> str | None:
        """The customer's reply; None if they leave."""
        again, self._heard = answer == self._heard, answer
        asking = [line for line in sentences(answer) if _ASKS.search(line) and not _CLOSING.search(line)]
        if not asking:
            return self._unasked(answer)
        parts = [part for line in asking for part in self._to(line)]
        if again or not parts:
            return self._wait(" ".join(dict.fromkeys(parts)) or UNKNOWN)
        self._lost = 0
        return " ".join(dict.fromkeys(parts))

    def _unasked(self, answer: str) -> str | None:
        """Reply to an answer without a question: asks for what is still open, or leaves if it is done or stuck."""
        done = _DONE.search(answer) or _CLOSING.search(answer)
        if done and (self._lost or len(sentences(self.opening)) == 1):
            return None
        return self._wait(AGAIN)

    def _wait(self, said: str) -> str | None:
        self._lost += 1
        return said if self._lost < PATIENCE else None

    def _to(self, question: str) -> list[str]:
        """Replies to one sentence of the agent; none if the customer knows nothing about it."""
        about = _about(question)
        if (cue := next((cue for cue in self.cues if cue.about & about), None)) is not None:
            self.cues.remove(cue)
            return [cue.said]
        if _CONFIRM.search(question):
            return [YES]
        if asked := topics(question):
            return [self.facts.answer(topic) for topic in asked]
        if _OPEN.search(question):
            return [self.opening]
        return [line for line in self.facts.lines if stems(line) & about]


def _cue(line: str) -> Cue | None:
    found = _CUE.match(line)
    about = _about(found["about"]) if found else frozenset()
    if not found or not about:
        return None
    said = first_person(found["said"])
    return Cue(about, said[0].upper() + said[1:])


def _about(question: str) -> frozenset[str]:
    """Topics of a question: the stems of its words, and the kinds of facts that it asks for."""
    confirming = ["to confirm"] if _CONFIRM.search(question) else []
    return stems(question).union((f"topic {topic}" for topic in topics(question)), confirming)
