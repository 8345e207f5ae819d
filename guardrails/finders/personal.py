"""Finds personal data of all kinds: by pattern (``pii``), and names, addresses and dates by the tagger of entities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from ipaddress import ip_address

import regex
from stdnum.cn import ric
from stdnum.de import idnr

from flightloop.egress import plain_host
from guardrails.entities.segments import segments
from guardrails.entities.tagger import ENTITIES, load_tagger
from guardrails.finders.pattern import Finding, Pattern, PatternFinder, Window, not_after
from guardrails.finders.pii import EDGE, PATTERNS, checked
from guardrails.text.suffixes import Name, kind_of

_LONG_GROUP = regex.compile(r"[^:]{3}")


def _is_address(text: str) -> bool:
    if ":" in text and not _LONG_GROUP.search(text):  # "a::b" is more often code
        return text == "::1"
    try:
        return ip_address(text).version > 0
    except ValueError:
        return False


_GENERIC = regex.compile(r"^www\.|\.(?:info|name|biz|pro|me)$", regex.IGNORECASE)
"""Beginnings that only hosts have, and top-level domains that are words, but no file extensions."""


def _domain(matched: str) -> Iterator[Window]:
    """Accepts host names, without a URL's path, that are no names of files or attributes."""
    host = regex.sub(r"^https?://|[/:?#].*$", "", matched, flags=regex.IGNORECASE)
    kind = kind_of(plain_host(host))
    if kind is Name.HOST or (kind is not Name.OTHER and (len(host) < len(matched) or _GENERIC.search(host))):
        yield 0, len(matched)


_BIRTH = regex.compile(
    r"(?<!\w)(?:born|birth\w*|d\.?o\.?b|b\.|geboren|geb|geburts\w+|n[ée]e?|naissance|nacid[oa]|nacimiento)(?!\w)|生",
    regex.IGNORECASE,
)
_BEFORE_DATE = 48
"""Characters before a date in which a word such as "born" makes it a date of birth."""
MORE_PATTERNS = {
    "ip": [
        Pattern("ip", not_after(r"\w.") + r"\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)", checked(_is_address)),
        Pattern("ip", not_after(r"\w:.") + r"[\da-fA-F]{0,4}(?::[\da-fA-F]{0,4}){2,7}(?![\w:])", checked(_is_address)),
    ],
    "domain": [
        Pattern(
            "domain",
            not_after(r"\w@./-")
            + r"(?:https?://)?(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w@-]|\.\w)",
            _domain,
            ignore_case=True,
        )
    ],
    "cn_ric": [
        Pattern(
            "cn_ric", not_after(r"a-zA-Z\d") + r"\d{17}[\dX](?![a-zA-Z\d])", checked(ric.is_valid), ignore_case=True
        )
    ],
    "de_idnr": [Pattern("de_idnr", EDGE + r"\d{2} \d{3} \d{3} \d{3}(?![\w-])", checked(idnr.is_valid))],
}
"""Kinds that a policy must list to have them found."""
BIRTH_DATE = "birth_date"
TAGGED = (*ENTITIES, BIRTH_DATE)
"""Kinds that the tagger finds."""
KINDS = (*PATTERNS, *MORE_PATTERNS, *TAGGED)
"""All kinds of personal data."""


@cache
def pattern_finder(kinds: tuple[str, ...]) -> PatternFinder:
    """A finder of those kinds that patterns describe."""
    every = PATTERNS | MORE_PATTERNS
    return PatternFinder([pattern for kind in kinds for pattern in every.get(kind, ())])


class PersonalFinder:
    """Finds kinds of personal data of which some need the tagger.

    The tagger reads whole segments, so a text that arrives in pieces is settled segment by segment.
    """

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self._kinds = frozenset(kinds)
        self._patterns = pattern_finder(kinds)

    def find(self, text: str, start: int = 0, before: int | None = None) -> list[Finding]:
        """Findings that start in [``start``, ``before``). ``start`` is 0 or a result of ``live``."""
        patterns = self._patterns.find(text, start, before)
        return sorted([*patterns, *self._entities(text, start, before, patterns)])

    def live(self, text: str, start: int = 0) -> int:
        """The beginning of the first segment that more text could still change. ``start`` as in ``find``."""
        last, settled = self._patterns.live(text, start), start
        for _, end in segments(text, start, complete=False):
            if end > last:
                break
            settled = end
        return settled

    def _entities(self, text: str, start: int, before: int | None, taken: Sequence[Finding]) -> Iterator[Finding]:
        for one in load_tagger().find(text, start, before, taken):
            kind = one.label
            if kind == "date" and _BIRTH.search(text, max(0, one.start - _BEFORE_DATE), one.start):
                kind = BIRTH_DATE if BIRTH_DATE in self._kinds else kind
            if kind in self._kinds:
                yield Finding(one.start, one.end, kind)


@cache
def personal_finder(kinds: tuple[str, ...]) -> PatternFinder | PersonalFinder:
    """A finder of these kinds."""
    return PersonalFinder(kinds) if set(kinds) & set(TAGGED) else pattern_finder(kinds)
