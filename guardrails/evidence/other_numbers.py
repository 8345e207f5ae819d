"""Numbers in a user's words that name no object: those of phones, accounts, links, sums and postal addresses.

An anonymous user proves to know an object by its number. "I live in Berlin 10115" does not name order 10115.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

from guardrails.finders.contacts import CONTACTS
from guardrails.finders.pii import pii_finder
from guardrails.text.quantities import CURRENCY
from guardrails.text.words import LETTER

_ACCOUNTS = pii_finder(("iban", "card"))
_LINK = regex.compile(r"(?:[a-z][a-z\d+.-]{1,20}:/|www\.)[^\s<>\"']{1,2000}+", regex.IGNORECASE)
_AMOUNT = r"\d[\d.,'’]{0,20}+"
_MONEY = regex.compile(
    rf"(?<!{LETTER}){CURRENCY}\s?{_AMOUNT}|(?<!{LETTER}|[.,]){_AMOUNT}\s?{CURRENCY}(?!{LETTER})",
    regex.IGNORECASE | regex.VERSION1,
)
_NAME = r"(?!(?i:order|bestellung|auftrag|number|nummer|pedido|commande)\b)\p{Lu}[\p{L}.'-]{1,30}+"
_STREET = r"(?<![\w#])(?:\d{1,4}[a-z]? \p{L}[\p{L}.' -]{2,40}|\p{Lu}[\p{L}.' -]{2,40} \d{1,4}[a-z]?),\s?"
_CITY = rf"(?:{_NAME} \d{{4,6}}|\d{{4,6}} {_NAME})(?!\w)"
_CODE = r"(?<!\w)(?i:zip(?:\scode)?|post(?:al)?\s?code|plz|postleitzahl|邮编|邮政编码)\W{0,3}(?:(?i:is|ist|是)\s?)?"
_POSTAL = regex.compile(
    rf"{_STREET}{_CITY}|(?<!\w)(?i:in|near) {_CITY}|(?<!\w)(?i:from|to|aus|nach) {_NAME} \d{{4,6}}(?!\w)"
    rf"|{_CODE}\d{{4,6}}(?!\d)"
)
"""The forms "12 Oak Street, Berlin 10115", "Lindenallee 12, 10115 Berlin", "in Berlin 10115" and "postcode 10115"."""


def without_other_numbers(text: str) -> str:
    """The text without the numbers that name no object."""
    kept = list(text)
    for start, end in _spans(text):
        kept[start:end] = "\n" * (end - start)
    return "".join(kept)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    for finding in (*CONTACTS.find(text), *_ACCOUNTS.find(text)):
        yield finding.start, finding.end
    for pattern in (_LINK, _MONEY, _POSTAL):
        for match in pattern.finditer(text):
            yield match.span()
