"""Which placeholder stands for which value. Made anew from the texts of a session, in order, so nothing is stored."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from copy import copy
from typing import Any

import regex

from flightloop.verdicts import Action
from guardrails.finders.pattern import Finding, merged
from guardrails.finders.personal import TAGGED, pattern_finder, personal_finder
from guardrails.placeholder_policy import PlaceholderPolicy
from guardrails.placeholders.marks import LITERAL, alike, mark, marks, replaced
from guardrails.rails.detector import Detector
from guardrails.text.scalars import map_scalars

_LEAST, _LEAST_DIGITS = 4, 7
"""Fewest characters of a known value that is replaced wherever it occurs, and of one without letters. A shorter one,
such as an age, is replaced only where the finder sees it."""
_LONGEST = 80
"""Longest beginning of a value that is looked for where a text was cut."""
_STRUCTURE = frozenset('"\\{}[]:')
"""Signs of JSON, which no value that is found across fields may have."""
_CUT = "…"
"""Sign at which the platform cuts long texts, perhaps in the middle of a value."""


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
        self._kinds: dict[str, str] = {}
        """Kinds of known values that are replaced wherever they occur."""
        self._counts: Counter[tuple[str, bool]] = Counter()
        self._found: dict[str, list[Finding]] = {}  # by text; shared by copies
        self._known: regex.Pattern[str] | None = None
        self._begun: dict[str, str] | None = None
        """Kinds of the known values' beginnings."""

    def copy(self) -> Register:
        """A register that learns for itself from here on."""
        other = copy(self)
        other._marks, other._values, other._kinds = dict(self._marks), dict(self._values), dict(self._kinds)
        other._counts = Counter(self._counts)
        return other

    def beside(self, other: Register) -> Register:
        """A copy that also knows another register's values, by that one's placeholders. Neither changes the other's
        numbers, so that an agent's own texts don't number those of the session."""
        both = self.copy()
        both._marks |= other._marks
        both._values |= other._values
        both._kinds |= other._kinds
        both._counts |= other._counts
        both._known = both._begun = None
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
        unfilled = [LITERAL] if next(marks(text), None) else []
        return sorted({*unfilled, *(one.label for one in self._without_tagger(text) if one.label != LITERAL)})

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
                self._kinds[value] = kind
                self._known = self._begun = None
        return self._marks[value]

    def _spans(self, text: str) -> list[Finding]:
        if text not in self._found:
            self._found[text] = [*self._detector.find(text), *alike(text)]
        return merged([*self._found[text], *self._occurrences(text), *self._cut_short(text)])

    def _without_tagger(self, text: str) -> list[Finding]:
        numbers = self._numbers.find(text) if self._numbers else []
        return merged([*numbers, *alike(text), *self._occurrences(text)])

    def _occurrences(self, text: str) -> Iterator[Finding]:
        if not self._kinds:
            return
        if self._known is None:
            self._known = regex.compile(r"(?<!\w)\L<known>(?!\w)", known=list(self._kinds))
        for match in self._known.finditer(text):
            yield Finding(match.start(), match.end(), self._kinds[match.group()])

    def _cut_short(self, text: str) -> Iterator[Finding]:
        """Beginnings of known values at which a text was cut. Reads each character once, whoever wrote it."""
        before, end = -1, text.find(_CUT)
        while end >= 0:
            beginnings = self._beginnings()
            for start in range(max(before + 1, end - _LONGEST), end - _LEAST + 1):
                if (kind := beginnings.get(text[start:end])) is not None:
                    yield Finding(start, end, kind)
                    break
            before, end = end, text.find(_CUT, end + 1)

    def _beginnings(self) -> dict[str, str]:
        if self._begun is None:
            self._begun = {
                value[:length]: kind
                for value, kind in self._kinds.items()
                for length in range(_LEAST, min(len(value), _LONGEST))
            }
        return self._begun


def dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_telling(value: str) -> bool:
    return len(value) >= (_LEAST if any(map(str.isalpha, value)) else _LEAST_DIGITS)


def _parsed(text: str) -> dict[str, Any] | list[Any] | None:
    """A JSON object or list; None for another text, and for one that could not be written again as it is."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = json.loads(text)
        dumped(value).encode()  # fails at half of a pair of surrogates
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None
