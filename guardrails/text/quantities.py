"""Numbers of a text in the notations that people use: grouped digits, currencies, and small numbers in words."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import regex

from guardrails.text.normalise import normalise

_CURRENCY = r"(?:euros?|eur|usd|gbp|chf|cny|rmb|jpy|dollars?|pounds?|yuan|cents?|[€$£¥₹元])"
_UNIT = r"(?:euros?|eur|usd|gbp|chf|cny|rmb|jpy|dollars?|pounds?|yuan|cents?|kg|g|km|cm|mm|m|x|st|nd|rd|th)"
_BEFORE = rf"(?:(?<![A-Za-z0-9_])|(?<=\b{_CURRENCY}))(?<!\d[.,'’])"
_AFTER = rf"(?!(?!{_UNIT}\b)[A-Za-z0-9_])"
_PLAIN = regex.compile(rf"{_BEFORE}(?P<sign>[-+−]?)(?P<whole>\d+)(?:[.,](?P<part>\d+))?(?![.,]\d){_AFTER}", regex.I)
_GROUPED = regex.compile(
    rf"{_BEFORE}(?P<sign>[-+−]?)(?P<whole>[1-9]\d{{0,2}}(?:(?P<mark>[,.'’ \u00a0\u202f])\d{{3}})(?:(?P=mark)\d{{3}})*)"
    rf"(?:(?!(?P=mark))[.,](?P<part>\d{{1,2}}))?(?!\d){_AFTER}",
    regex.I,
)
_AMOUNT = regex.compile(rf"(?:{_CURRENCY}\s?)?(?P<number>[-+−]?\d[\d.,'’ \u00a0\u202f]*)\s?{_CURRENCY}?", regex.I)
_LONGEST = 24
"""Most digits of a number. Longer ones identify something and are compared as texts."""
_ONES = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "dozen": 12, "both": 2, "twice": 2, "once": 1,
    "null": 0, "eins": 1, "eine": 1, "einen": 1, "zwei": 2, "drei": 3, "vier": 4, "fünf": 5, "sechs": 6, "sieben": 7,
    "acht": 8, "neun": 9, "zehn": 10, "elf": 11, "zwölf": 12, "beide": 2, "zweimal": 2, "einmal": 1,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
    "zwanzig": 20, "dreißig": 30, "vierzig": 40, "fünfzig": 50, "sechzig": 60, "siebzig": 70, "achtzig": 80,
    "neunzig": 90, "hundred": 100, "hundert": 100,
}  # fmt: skip
_SPOKEN = regex.compile(
    rf"\b(?:(?P<tens>{'|'.join(_TENS)})(?:[\s-](?P<rest>{'|'.join(_ONES)}))?|(?P<ones>{'|'.join(_ONES)}))\b", regex.I
)
_CHINESE = regex.compile("[一二两三四五六七八九十百]+")
_DIGITS = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"两": 2}


def quantities(text: str) -> frozenset[Decimal]:
    """All numbers of a text by value, with both readings of an ambiguous one: ``1.250`` is 1.25 and 1250."""
    plain = normalise(text)
    return frozenset((*_written(plain), *_spoken(plain)))


def amount(text: str) -> Decimal | None:
    """The value of a text that is nothing but an amount, such as ``EUR 99`` or ``1,250.00 euros``; else None."""
    match = _AMOUNT.fullmatch(normalise(text).strip())
    found = set(_written(match["number"].strip())) if match else set()
    return min(found) if found else None


def _written(text: str) -> Iterator[Decimal]:
    for pattern in (_PLAIN, _GROUPED):
        for match in pattern.finditer(text):
            digits = regex.sub(r"\D", "", match["whole"])
            if len(digits) <= _LONGEST:
                sign = "-" if match["sign"] in ("-", "−") and match["sign"] else ""
                yield Decimal(f"{sign}{digits}.{(match['part'] or '0')[:_LONGEST]}").normalize()


def _spoken(text: str) -> Iterator[Decimal]:
    for match in _SPOKEN.finditer(text):
        tens, rest = _TENS.get((match["tens"] or "").casefold(), 0), (match["rest"] or match["ones"] or "").casefold()
        yield Decimal(tens + _ONES.get(rest, 0))
        if rest and tens:
            yield Decimal(tens)
    yield from (Decimal(_chinese(match.group())) for match in _CHINESE.finditer(text))


def _chinese(text: str) -> int:
    """The value of Chinese numerals below a thousand: 九十九 is 99."""
    total = last = 0
    for sign in text:
        unit = {"十": 10, "百": 100}.get(sign)
        if unit is None:
            last = _DIGITS[sign]
        else:
            total, last = total + max(1, last) * unit, 0
    return total + last
