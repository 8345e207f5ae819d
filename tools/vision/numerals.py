"""Numbers as charts and tables print them: separators, signs, units, magnitudes, powers of ten."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAGNITUDES = {
    "k": 1e3, "K": 1e3, "M": 1e6, "m": 1e6, "mn": 1e6, "million": 1e6, "B": 1e9, "G": 1e9, "bn": 1e9, "billion": 1e9,
    "T": 1e12, "千": 1e3, "万": 1e4, "百万": 1e6, "亿": 1e8, "μ": 1e-6, "µ": 1e-6, "n": 1e-9,
}  # fmt: skip
CURRENCIES = "$€£¥￥"
CONFUSED = str.maketrans({
    "−": "-", "–": "-", "—": "-", "一": "-", "﹣": "-", "－": "-", "，": ",", "。": ".", "％": "%", "：": ":",
    "（": "(", "）": ")", "’": "'", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "×": "x",
})  # fmt: skip
LETTERS = str.maketrans({"O": "0", "o": "0", "D": "0", "l": "1", "I": "1", "|": "1", "S": "5"})
BODY = r"\d{1,3}(?:[,' ]\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}|\d+[.,]\d+|\d+|\.\d+"
NUMBER = re.compile(
    rf"(?P<sign>[-+~≈]?)\s?(?P<currency>[{CURRENCIES}]?)\s?(?P<sign2>-?)(?P<body>{BODY})"
    rf"(?P<power>[eE][+-]?\d{{1,3}})?\s?(?P<unit>[^\d\s,.()⁰¹²³⁴-⁹-][^\d()]{{0,11}})?"
)
POWER = re.compile(r"(?P<sign>-?)(?:(?P<body>\d+(?:\.\d+)?)\s?[x·*]\s?)?10\^?(?P<power>[-⁻]?[\d⁰¹²³⁴-⁹]{1,2})")
EDGES = " :;,-()[]|/=–—"
"""Signs between a name and its value."""
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


@dataclass(frozen=True)
class Numeral:
    """A number read from text."""

    value: float
    unit: str = ""  # "%", a currency sign, or what follows the number; magnitudes such as k are in the value


def numeral(text: str) -> Numeral | None:
    """The number that the whole text is, with an optional unit; None if it is anything else.

    >>> numeral("1,234.5"), numeral("(12%)"), numeral("€3.5k")
    (Numeral(value=1234.5, unit=''), Numeral(value=-12.0, unit='%'), Numeral(value=3500.0, unit='€'))
    """
    plain = re.sub(r"(?<=[\d%kKMBGT千万亿])\s?[-_.'~]$", "", text.translate(CONFUSED).strip())  # a tick read as a dash
    enclosed = re.fullmatch(r"\(\s*(.+?)\s*\)", plain)
    if enclosed:
        inner = numeral(enclosed[1])
        return inner and Numeral(-inner.value, inner.unit)
    if _mostly_digits(plain) and (confused := NUMBER.fullmatch(plain.translate(LETTERS))) and not confused["unit"]:
        return _value(confused)
    match = NUMBER.fullmatch(plain)
    return _value(match) if match else None


def dotted_thousands(text: str) -> Numeral | None:
    """The number with points between thousands, as ``1.500`` is meant in German; None if that can't be meant."""
    groups = r"(?<![\d.,])[1-9]\d{0,2}(?:\.\d{3})+(?![\d.,])"
    grouped = re.sub(groups, lambda match: match[0].replace(".", ""), text)
    return None if re.search(r"\d\.\d", grouped) else numeral(grouped)


def power_of_ten(text: str) -> Numeral | None:
    """A power as tick labels of logarithmic axes print it: ``10³``, or ``103`` where the exponent lost its height."""
    plain = re.sub(r"([⁰¹²³⁴-⁹])\d$", r"\1", text.translate(CONFUSED).replace(" ", ""))  # an exponent read twice
    match = POWER.fullmatch(plain)
    if not match:
        return None
    exponent = int(match["power"].translate(SUPERSCRIPTS))
    value = float(match["body"] or 1) * 10.0**exponent
    return Numeral(-value if match["sign"] else value)


def numbers_in(text: str) -> list[Numeral]:
    """All numbers in a text, such as the count and the percentage in ``Apples: 120 (23.5%)``."""
    return [number for _, number in _placed(text)]


def name_before(text: str, numbers: Sequence[Numeral]) -> str:
    """The name in a label that also has its value: the text before the first of ``numbers``, or after it.

    >>> name_before("Product 2: 1,400 EUR", [Numeral(1400.0)]), name_before("46% Rent", [Numeral(46.0, "%")])
    ('Product 2', 'Rent')
    """
    start = next((start for start, number in _placed(text) if number in numbers), None)
    if start is None:
        return text
    return text[:start].strip(EDGES) or without_numbers(text[start:])


def unit_after(text: str, number: Numeral) -> str:
    """The unit at the end of a label such as ``Tickets: 61,250 EUR``; empty if the name follows the number."""
    if number.unit:
        return number.unit
    start = next((start for start, found in _placed(text) if found == number), len(text))
    if not text[:start].strip(EDGES):
        return ""
    match = re.match(rf"\D{{0,3}}(?:{BODY})\s?(?P<unit>[^\W\d]{{1,5}})\s*(?:$|[(\[,;/|])", text[start:])
    return match["unit"] if match else ""


def _placed(text: str) -> list[tuple[int, Numeral]]:
    """Numbers of a text with the index at which each begins."""
    found = []
    for match in NUMBER.finditer(text.translate(CONFUSED)):
        unit = (match["unit"] or "").strip()
        value = _value(match) if not unit or unit[0] == "%" or unit in MAGNITUDES else _value(match, unit="")
        if value:
            number = Numeral(value.value, value.unit[:1] if value.unit.startswith("%") else value.unit)
            found.append((match.start(), number))
    return found


def without_numbers(text: str) -> str:
    """The text with numbers, their units and separators removed: the label in ``Apples: 120 (23.5%)``."""
    bare = re.sub(rf"[(\[]?[-+]?[{CURRENCIES}]?(?:{BODY})\s?%?[)\]]?", " ", text.translate(CONFUSED))
    return re.sub(r"\s+", " ", bare).strip(EDGES + "%")


def _mostly_digits(text: str) -> bool:
    return sum(character.isdigit() for character in text) * 2 >= len(text.strip("-%")) > 1


def _value(match: re.Match[str], unit: str | None = None) -> Numeral | None:
    value = float(_plain(match["body"]) + (match["power"] or ""))
    if match["sign"] == "-" or match["sign2"]:
        value = -value
    suffix = (match["unit"] or "").strip() if unit is None else unit
    for name in sorted(MAGNITUDES, key=len, reverse=True):
        rest = suffix[len(name) :].strip()
        if suffix.startswith(name) and (not rest or rest[0] in CURRENCIES + "元美"):
            return Numeral(value * MAGNITUDES[name], match["currency"] or rest)
    return Numeral(value, match["currency"] or suffix)


def _plain(body: str) -> str:
    """Digits with a decimal point. A lone comma is decimal unless exactly three digits follow it."""
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}", body):
        return body.replace(".", "").replace(",", ".")
    if re.fullmatch(r"\d+,\d+", body) and not re.fullmatch(r"[1-9]\d{0,2},\d{3}", body):
        return body.replace(",", ".")
    return re.sub(r"[,' ]", "", body)
