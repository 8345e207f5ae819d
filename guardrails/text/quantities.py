"""Numbers of a text in the notations that people use: grouped digits, currencies, and small numbers in words."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import regex

from guardrails.text.normalise import normalise

CURRENCY = r"(?:euros?|eur|usd|gbp|chf|cny|rmb|jpy|dollars?|pounds?|yuan|cents?|[€$£¥₹元])"
"""Names and signs of currencies."""
_UNIT = r"(?:euros?|eur|usd|gbp|chf|cny|rmb|jpy|dollars?|pounds?|yuan|cents?|kg|g|km|cm|mm|m|x|st|nd|rd|th)"
_BEFORE = rf"(?:(?<![A-Za-z0-9_])|(?<=\b{CURRENCY}))(?<!\d[.,'’])"
_AFTER = rf"(?!(?!{_UNIT}\b)[A-Za-z0-9_])"
_PLAIN = regex.compile(rf"{_BEFORE}(?P<sign>[-+−]?)(?P<whole>\d+)(?:[.,](?P<part>\d+))?(?![.,]\d){_AFTER}", regex.I)
_GROUPED = regex.compile(
    rf"{_BEFORE}(?P<sign>[-+−]?)(?P<whole>[1-9]\d{{0,2}}(?:(?P<mark>[,.'’ \u00a0\u202f])\d{{3}})(?:(?P=mark)\d{{3}})*)"
    rf"(?:(?!(?P=mark))[.,](?P<part>\d{{1,2}}))?(?!\d){_AFTER}",
    regex.I,
)
_AMOUNT = regex.compile(rf"(?:{CURRENCY}\s?)?(?P<number>[-+−]?\d[\d.,'’ \u00a0\u202f]*)\s?{CURRENCY}?", regex.I)
_LONGEST = 24
"""Most digits of a number. Longer ones identify something and are compared as texts."""
_ONES = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "dozen": 12, "both": 2, "twice": 2, "once": 1,
    "couple": 2, "pair": 2, "thrice": 3,
    "null": 0, "eins": 1, "eine": 1, "einen": 1, "zwei": 2, "drei": 3, "vier": 4, "fünf": 5, "sechs": 6, "sieben": 7,
    "acht": 8, "neun": 9, "zehn": 10, "elf": 11, "zwölf": 12, "beide": 2, "zweimal": 2, "einmal": 1,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
    "zwanzig": 20, "dreißig": 30, "vierzig": 40, "fünfzig": 50, "sechzig": 60, "siebzig": 70, "achtzig": 80,
    "neunzig": 90, "hundred": 100, "hundert": 100,
}  # fmt: skip
_LARGE = {"hundred": 100, "hundert": 100, "thousand": 1000, "tausend": 1000}
_GERMAN_STEMS = {"ein": 1, "sech": 6, "sieb": 7, "dreissig": 30, "fuenf": 5, "fuenfzig": 50, "zwoelf": 12}
_VALUES = {**_ONES, **_TENS, **_LARGE, **_GERMAN_STEMS}
_NOT_COUNTING = ("dozen", "both", "twice", "once", "couple", "pair", "thrice", "beide", "zweimal", "einmal")
_COUNTING = [word for word in _VALUES if word not in _NOT_COUNTING]
_ENGLISH = "|".join(sorted((word for word in _COUNTING if word.isascii()), key=len, reverse=True))
_GERMAN = "|".join(sorted(_COUNTING, key=len, reverse=True))
_SPOKEN = regex.compile(
    rf"\b(?:(?P<tens>{'|'.join(_TENS)})(?:[\s-](?P<rest>{'|'.join(_ONES)}))?|(?P<ones>{'|'.join(_ONES)}))\b", regex.I
)
_DOZENS = regex.compile(
    rf"\b(?P<count>half\s+a|\d{{1,4}}|{'|'.join(_ONES)})\s+dozen\b|(?P<count>[半一二两三四五六七八九十\d])打(?!电话|开|算|扰|包|折|印|听)",
    regex.I,
)
_CHINESE = regex.compile("[一二两三四五六七八九十百千万零〇]*[一二两三四五六七八九十百千万]")
_COUNTED = regex.compile(
    rf"(?<!周|星期|礼拜|第){_CHINESE.pattern}(?=[个元块角件本张只双台套次天周人位份条瓶盒包杯张辆部]|欧元|美元|英镑|人民币)"
)
_COMPOUND = regex.compile(
    rf"\b(?:{_ENGLISH})(?:[\s-]+(?:and\s+)?(?:{_ENGLISH})){{1,11}}\b|\b(?:{_GERMAN})(?:(?:{_GERMAN}|und)){{1,11}}\b",
    regex.I,
)
_PART = regex.compile(rf"{_ENGLISH}|{_GERMAN}", regex.I)
_CENTS = regex.compile(rf"{_BEFORE}(?P<cents>\d{{1,{_LONGEST}}})\s?(?:euro)?(?:cents?|ct)\b", regex.I)
_NUMBER_WORD = regex.compile(
    r"\b\p{L}*(?:hundert|tausend|hundred|thousand|million|(?:zwan|vier|fünf|fuenf|sech|sieb|acht|neun)zig|drei(?:ß|ss)ig|"
    r"(?:vein|trein|cuaren|cincuen|sesen|seten|ochen|noven|quaran|cinquan|sessan|settan|ottan|novan)ta|veinte|cien|"
    r"vingt|trente|quarante|cinquante|soixante)\p{L}*|[千万亿佰仟萬]",
    regex.I,
)
"""Words for large numbers, in some more languages than are read."""
_DIGITS = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}


def in_digits(text: str) -> frozenset[Decimal]:
    """The numbers that a text writes in digits, with both readings of an ambiguous one: ``1.250`` is 1.25 and 1250."""
    return frozenset(_written(normalise(text)))


def quantities(text: str, *, sparing: bool = False) -> frozenset[Decimal]:
    """All numbers of a text by value, in digits (see `in_digits`) or in words.

    Args:
        sparing: whether Chinese numerals count only before a word for what they count, since many words contain them.
    """
    plain = normalise(text)
    cents = (Decimal(match["cents"]).scaleb(-2).normalize() for match in _CENTS.finditer(plain))
    return frozenset((*_written(plain), *cents, *_spoken(plain, _COUNTED if sparing else _CHINESE)))


def has_unread(text: str) -> bool:
    """Whether a text has a word for a large number that `quantities` can't read."""
    left = normalise(text)
    for pattern in (_COMPOUND, _SPOKEN, _CHINESE):
        left = pattern.sub(" ", left)
    return _NUMBER_WORD.search(left) is not None


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


def _spoken(text: str, chinese: regex.Pattern[str]) -> Iterator[Decimal]:
    for match in _SPOKEN.finditer(text):
        tens, rest = _TENS.get((match["tens"] or "").casefold(), 0), (match["rest"] or match["ones"] or "").casefold()
        yield Decimal(tens + _ONES.get(rest, 0))
        if rest and tens:
            yield Decimal(tens)
    yield from (_dozens(match["count"].casefold()) for match in _DOZENS.finditer(text))
    yield from (Decimal(_compound(match.group())) for match in _COMPOUND.finditer(text))
    yield from (Decimal(_chinese(match.group())) for match in chinese.finditer(text))


def _dozens(count: str) -> Decimal:
    if count.startswith(("half", "半")):
        return Decimal(6)
    if count.isdecimal():
        return Decimal(12 * int(count))
    return Decimal(12 * (_ONES[count] if count in _ONES else _chinese(count)))


def _compound(text: str) -> int:
    """The value of a number in several words or parts: ``two hundred and five``, ``neunundneunzig``."""
    total = last = 0
    for part in _PART.findall(text.casefold()):
        value = _VALUES[part]
        if value >= 100:
            last = max(1, last) * value
            total, last = (total + last, 0) if value == 1000 else (total, last)
        else:
            last += value
    return total + last


def _chinese(text: str) -> int:
    """The value of Chinese numerals below a hundred million: 九十九 is 99, 一万二千 is 12000."""
    total = part = last = 0
    for sign in text:
        unit = {"十": 10, "百": 100, "千": 1000}.get(sign)
        if sign == "万":
            total, part, last = total + max(1, part + last) * 10_000, 0, 0
        elif unit is None:
            last = _DIGITS[sign]
        else:
            part, last = part + max(1, last) * unit, 0
    return total + part + last
