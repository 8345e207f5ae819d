"""Finds calendar dates: ISO 8601, and English with the month's name."""

from __future__ import annotations

import regex

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTH = "|".join(f"{name[:3]}(?:{name[3:]})?" if name != "may" else "may" for name in _MONTHS) + "|sept"
_DATE = regex.compile(
    r"(?<!\d)\d{4}-(?P<month>\d\d)-(?P<day>\d\d)(?!\d)"
    rf"|(?<![\d.,])(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<name>{_MONTH})\b"
    rf"|\b(?P<name>{_MONTH})\.?\s+(?:the\s+)?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?![\d:]|[.,]\d)",
    regex.IGNORECASE,
)


def dates_in(text: str) -> frozenset[tuple[int, int]]:
    """Months and days in a text. Years are ignored, since most sentences leave them out."""
    return frozenset((_month(match), int(match["day"])) for match in _DATE.finditer(text))


def _month(match: regex.Match[str]) -> int:
    if match["month"]:
        return int(match["month"])
    return next(at for at, name in enumerate(_MONTHS, 1) if name.startswith(match["name"][:3].casefold()))
