"""Finds personal data by pattern and checksum (python-stdnum). Plain digits without a checksum are not reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import accumulate
from operator import add
from string import ascii_uppercase

import regex
from stdnum import iban
from stdnum.br import cpf
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.it import codicefiscale
from stdnum.us import ssn

from guardrails.finders.identifiers import OUTSIDE_ID
from guardrails.finders.pattern import AFTER_ESCAPE, Finding, Pattern, PatternFinder, Window, not_after

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_GAP = regex.compile(r"[ -]")
CARD_PREFIX = regex.compile(
    r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|3(?:0[0-5]|[68])|6(?:011|5|4[4-9])|35|1800|2131"
)


def checked(valid: Callable[[str], bool]) -> Callable[[str], Iterator[Window]]:
    """Accepts a whole match if ``valid`` returns True for it."""

    def refine(matched: str) -> Iterator[Window]:
        if valid(matched):
            yield 0, len(matched)

    return refine


def prefixes(least: int, most: int, valid: Callable[[str], bool]) -> Callable[[str], Iterator[Window]]:
    """Accepts the longest valid run of groups from the start of a match, since the last groups may be another word.

    ``valid`` is called with the characters without gaps, if there are ``least`` to ``most`` of them.
    """

    def refine(matched: str) -> Iterator[Window]:
        # A thread that gives the interpreter's lock back for each short text, and takes it at once, starves the others.
        bare_groups = _GAP.split(matched, concurrent=False)
        groups = list(accumulate(bare_groups, add))  # bare characters up to the end of each group
        for gaps, characters in reversed(list(enumerate(groups))):
            if least <= len(characters) <= most and valid(characters):
                yield 0, len(characters) + gaps
                return

    return refine


_MAESTRO = regex.compile(r"5018|5020|5038|5893|6304|6759|676[1-3]")
"""Cards with 12 digits or more."""


def is_card(digits: str) -> bool:
    known = CARD_PREFIX.match(digits) if len(digits) > 12 else None
    return bool(known or _MAESTRO.match(digits)) and _luhn(digits)


def _luhn(digits: str) -> bool:
    """Luhn check (ISO/IEC 7812-1, annex B)."""
    return not (sum(map(int, digits[::-2])) + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])) % 10


_LETTERS = {ord(letter): str(value) for value, letter in enumerate(ascii_uppercase, 10)}
"""Letters of an IBAN as numbers (ISO 7064)."""


def is_iban(characters: str) -> bool:
    # The remainder rules out nearly all before the country's own rules are looked up.
    rotated = (characters[4:] + characters[:4]).upper().translate(_LETTERS)
    # Without regard to case, a pattern's letters include two others, such as the sign for kelvin.
    return rotated.isdecimal() and int(rotated) % 97 == 1 and bool(iban.is_valid(characters))


def is_phone(text: str, least: int = 9) -> bool:
    return least <= len(regex.sub(r"\D", "", text)) <= 15


DASHES = r"\-" + "\u2010-\u2015\u2212\u00b7\u2022\u2219\uff0d"
_BLANK_SIGNS = " \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
GAP = rf"[{_BLANK_SIGNS}{DASHES}./()*_~]{{0,3}}"
"""Separators between the digits of a phone number: blanks, dashes, middle dots, slashes, brackets."""
_ONE_GAP = rf"(?: [{DASHES}/] |[{_BLANK_SIGNS}{DASHES}.])"
BETWEEN = GAP.replace("{0,3}", "{1,3}")
ZERO, ONE_ON = "[0\uff10]", "[1-9\uff11-\uff19]"
"""Digits, also full-width ones."""
_DIGIT = regex.compile(r"[(+]?\d")
_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:19|20)\d{2}"
_HOUR = r"(?:[01]?\d|2[0-3])\.[0-5]\d"
NO_PHONE = regex.compile(
    rf"(?:{_YEAR}([-./]){_MONTH}\1{_DAY}|{_DAY}([-./]){_DAY}\2{_YEAR}|{_DAY}([./]){_DAY}\3\d{{2}}|{_HOUR}-{_HOUR})"
    r"(?![-./]?\d)"
)
"""A date or a time range, which may follow "call" as a phone number does."""


def after_word(matched: str) -> Iterator[Window]:
    """Accepts the phone number at the end of a match that begins with a word such as "call". Skips dates before it."""
    begin = _DIGIT.search(matched)
    while begin and (other := NO_PHONE.match(matched, begin.start())):
        begin = _DIGIT.search(matched, other.end())
    if begin and is_phone(matched[begin.start() :], least=7):
        yield begin.start(), len(matched)


BEFORE_EMAIL = rf"(?:(?<![\w.+%\\-])|{AFTER_ESCAPE}|(?<=\\)(?![bfnrt]))"
EDGE, WORD, END = not_after(r"\w+.-"), not_after(r"\w"), r"(?!\w)"
PATTERNS = {
    "email": [Pattern("email", BEFORE_EMAIL + r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")],
    "phone": [
        Pattern(
            "phone",
            not_after(r"\w+")
            + OUTSIDE_ID
            + r"(?<!\d[ ./-])"
            + rf"(?:[+\uff0b]|{ZERO}{{2}}){ONE_ON}(?:{GAP}\d){{7,14}}\)?(?!\d)",
            checked(is_phone),
        ),
        Pattern(
            "phone",
            WORD + r"(?:(?:tele)?phone|tel|mobile|cell|fax|whatsapp|call(?: me)?|reach me)"
            r"(?: (?:number|no|is|at|on|under)|[.:#]){0,3} ?[(+]?\d(?:[ ()./-]{0,2}\d){6,14}(?!\d)",
            after_word,
            ignore_case=True,
        ),
        Pattern(
            "phone",
            EDGE
            + rf"(?:[1\uff11]{BETWEEN})?"
            + rf"(?:\([2-9\uff12-\uff19]\d{{2}}\){GAP}|[2-9\uff12-\uff19]\d{{2}}\)?{_ONE_GAP})\d{{3}}{_ONE_GAP}\d{{4}}"
            + END,
        ),
    ],
    "iban": [
        Pattern("iban", WORD + r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}", prefixes(15, 34, is_iban), ignore_case=True)
    ],
    # A group of digits may precede the number, so each group is a possible start.
    "card": [
        Pattern(
            "card",
            rf"(?<!\d)(?=[1-6]){OUTSIDE_ID}(?:[3-6]|1[ -]?8|2[ -]?[1-7])(?:[ -]?\d){{11,27}}(?!\d)",
            prefixes(12, 19, is_card),
        )
    ],
    "us_ssn": [Pattern("us_ssn", EDGE + r"\d{3}-\d{2}-\d{4}(?![\w-])", checked(ssn.is_valid))],
    "gb_nino": [
        Pattern("gb_nino", WORD + r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D](?!\w)"),
    ],
    "es_dni": [
        Pattern("es_dni", EDGE + r"\d{8}-?[A-Z](?!\w)", checked(dni.is_valid), ignore_case=True),
        Pattern("es_dni", EDGE + r"[XYZ]-?\d{7}-?[A-Z](?!\w)", checked(nie.is_valid), ignore_case=True),
    ],
    "it_cf": [
        Pattern(
            "it_cf",
            WORD + r"[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z](?!\w)",
            checked(codicefiscale.is_valid),
            ignore_case=True,
        )
    ],
    "fr_nir": [
        Pattern("fr_nir", EDGE + r"[12](?: ?\d){4}(?: ?[\dAB])(?: ?\d){9}(?![\w-])", checked(nir.is_valid)),
    ],
    "br_cpf": [Pattern("br_cpf", EDGE + r"\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w-])", checked(cpf.is_valid))],
}


@cache
def pii_finder(kinds: tuple[str, ...]) -> PatternFinder:
    return PatternFinder([pattern for kind in kinds for pattern in PATTERNS[kind]])


def values(text: str, findings: list[Finding]) -> frozenset[tuple[str, str]]:
    """Label and bare value of each finding."""
    return frozenset((finding.label, bare(text[finding.start : finding.end])) for finding in findings)


def bare(value: str) -> str:
    return regex.sub(r"[\s()./+-]", "", value).casefold() if "@" not in value else value.casefold()
