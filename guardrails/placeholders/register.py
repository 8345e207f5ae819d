"""Which placeholder stands for which value. Made anew from the texts of a session, in order, so nothing is stored."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from copy import copy
from typing import Any

from flightloop.verdicts import Action
from guardrails.finders.pattern import Finding, merged
from guardrails.finders.personal import TAGGED, pattern_finder, personal_finder
from guardrails.placeholder_policy import PlaceholderPolicy
from guardrails.placeholders.known import LEAST, Known
from guardrails.placeholders.marks import LITERAL, alike, mark, replaced
from guardrails.rails.detector import Detector
from guardrails.text.scalars import map_scalars

_LEAST_DIGITS = 7
"""Fewest characters of a known value without letters that is replaced wherever it occurs; LEAST of another one. A
shorter one, such as an age, is replaced only where the finder sees it."""
_STRUCTURE = frozenset('"\\{}[]:')
"""Signs of JSON, which no value that is found across fields may have."""


class Register:
    """Placeholders by value, and values by placeholder. The same texts in the same order give the same register.

    A value is a text as it is written: another spelling is another value, so that filling in gives back each text.

    Args:
        policy: kinds to replace, and arguments of calls that get real values.
    """

    def __init__(self, policy: PlaceholderPolicy) -> None:
        self.policy = policy
        self._detector = Detector("placeholders", personal_finder(policy.kinds), Action.REDACT)
        numbers = tuple(kind for kind in policy.kinds if kind not in TAGGED)
        self._numbers = Detector("placeholders", pattern_finder(numbers), Action.REDACT) if numbers else None
        self._marks: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._known = Known()
        self._counts: Counter[tuple[str, bool]] = Counter()
        self._found: dict[str, list[Finding]] = {}  # by text; shared by copies

    def copy(self) -> Register:
        """A register that learns for itself from here on."""
        other = copy(self)
        other._marks, other._values, other._known = dict(self._marks), dict(self._values), self._known.copy()
        other._counts = Counter(self._counts)
        return other

    def beside(self, other: Register) -> Register:
        """A copy that also knows another register's values, by that one's placeholders. Neither changes the other's
        numbers, so that an agent's own texts don't number those of the session."""
        both = self.copy()
        both._marks |= other._marks
        both._values |= other._values
        both._counts |= other._counts
        both._known.add_all(other._known)
        return both

    def read(self, texts: Iterable[str], *, fixed: bool = False) -> None:
        """Learns the values of texts. ``fixed``: they are the agent's own, not the session's."""
        for text in texts:
            self.masked(text, fixed=fixed)

    def masked_words(self, text: str) -> str:
        """A text of a tool's schema, in which only known values, and numbers and addresses by pattern, are looked for:
        a keyword or a choice must not be taken for a name."""
        return self._replaced(text, self._without_tagger(text), fixed=True)

    def masked(self, text: str, *, fixed: bool = False) -> str:
        """The text with placeholders; new values get new ones. JSON is masked value by value, so that a value is known
        as it is meant, without escapes."""
        value = _parsed(text)
        if value is None:
            return self._plain(text, fixed)
        for finding in self._spans(text):  # the names of fields tell what a lone value does not
            inner = text[finding.start : finding.end]
            if finding.label != LITERAL and _STRUCTURE.isdisjoint(inner):
                self._mark(inner, finding.label, fixed)
        masked = self.masked_value(value, fixed=fixed)
        # A key that stands twice is not in ``value``.
        return self._plain(text, fixed) if masked == value else dumped(masked)

    def masked_value(self, value: Any, *, fixed: bool = False) -> Any:
        """A JSON value with placeholders in its strings, numbers and keys."""
        return map_scalars(value, lambda each: self._plain(each, fixed))

    def filled(self, text: str, *, escaped: bool = False) -> str:
        """The text with the values of known placeholders; the inverse of ``masked``. ``escaped``: the text is JSON."""
        return replaced(text, self._escaped if escaped else self._values.get)

    def found(self, text: str) -> list[str]:
        """Kinds of what a text without placeholders must not have: known values, numbers and addresses by pattern, and
        whatever looks like a placeholder."""
        return sorted({one.label for one in [*self._without_tagger(text), *alike(text)]})

    def _escaped(self, placeholder: str) -> str | None:
        value = self._values.get(placeholder)
        return None if value is None else json.dumps(value, ensure_ascii=False)[1:-1]

    def _plain(self, text: str, fixed: bool) -> str:
        return self._replaced(text, self._spans(text), fixed)

    def _replaced(self, text: str, findings: Iterable[Finding], fixed: bool) -> str:
        pieces, at = [], 0
        for finding in findings:
            pieces += [text[at : finding.start], self._mark(text[finding.start : finding.end], finding.label, fixed)]
            at = finding.end
        return "".join([*pieces, text[at:]])

    def _mark(self, value: str, kind: str, fixed: bool) -> str:
        if value not in self._marks:
            self._counts[kind, fixed] += 1
            made = mark(kind, self._counts[kind, fixed], fixed=fixed)
            self._marks[value], self._values[made] = made, value
            if _is_telling(value) and kind != LITERAL:
                self._known.add(value, kind)
        return self._marks[value]

    def _spans(self, text: str) -> list[Finding]:
        if text not in self._found:
            self._found[text] = [*self._detector.find(text), *alike(text)]
        return merged([*self._found[text], *self._known.occurrences(text), *self._known.cut_short(text)])

    def _without_tagger(self, text: str) -> list[Finding]:
        numbers = self._numbers.find(text) if self._numbers else []
        return merged([*numbers, *alike(text), *self._known.occurrences(text)])


def dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_telling(value: str) -> bool:
    return len(value) >= (LEAST if any(map(str.isalpha, value)) else _LEAST_DIGITS)


def _parsed(text: str) -> dict[str, Any] | list[Any] | None:
    """A JSON object or list; None for another text, and for one that could not be written again as it is, such as a
    number that is too large."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # fails at half of a pair of surrogates
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None
