"""Dates as tick labels print them, and the scale of a time axis."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from tools.vision.scale import Scale, Tick, fit

NAMES = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
         "december")  # fmt: skip
MONTHS = tuple(name[:3] for name in NAMES)
MONTH = rf"(?P<month>{'|'.join(MONTHS)})(?:{'|'.join(name[3:] for name in NAMES if name[3:])}|t)?\.?"
NUMBERED = r"(?P<year>(?:19|20)\d\d)\s?[-/.年]\s?(?P<number>\d{1,2})"
FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"{NUMBERED}\s?[-/.月]\s?(?P<day>\d{{1,2}})日?",
        rf"{NUMBERED}月?",
        rf"(?P<day>\d{{1,2}})\.?[ -]?{MONTH}(?:[ ,-]+(?P<year>(?:19|20)\d\d))?",
        rf"{MONTH}\s?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:, ?(?P<year>(?:19|20)\d\d))?",
        rf"{MONTH}(?:[ ,-]*(?P<year>(?:19|20)\d\d))?",
    )
)
ANY_YEAR = 2001
"""Year of the first label where none is printed."""
LEAST, SHARE = 3, 0.7
"""Least number and share of labels that are dates on one scale."""
TOLERANCE = 4.0  # pixels


@dataclass(frozen=True)
class TimeScale:
    """Days since 1 January of year 1 as a function of the pixel position."""

    scale: Scale
    years: bool
    """Whether the labels have years."""

    def name(self, position: float) -> str:
        """The date at a position: ``2026-03-19``, or ``19 Mar`` where the labels have no years."""
        day = date.min + timedelta(days=min(max(round(self.scale.value(position)), 1), date.max.toordinal()) - 1)
        return day.isoformat() if self.years else f"{day.day} {MONTHS[day.month - 1].title()}"


def time_scale(labels: Sequence[tuple[float, str]]) -> TimeScale | None:
    """The scale of labels (position, text) that are dates; None if they aren't.

    Labels without years follow each other in time.
    """
    parsed = [(position, _parts(text)) for position, text in labels]
    known = [(position, found) for position, found in parsed if found]
    if len(known) < max(LEAST, SHARE * len(labels)):
        return None
    years = any(year is not None for _, (year, _, _) in known)
    ticks: list[Tick] = []
    current, last = ANY_YEAR, 0
    for position, (year, month, day) in known:
        if year is not None:
            current = year
        elif month < last:
            current += 1
        last = month
        try:
            ticks.append(Tick(position, float(date(current, month, day).toordinal())))
        except ValueError:  # misread, such as 31 Feb
            continue
    scale = fit(ticks, least=LEAST, tolerance=TOLERANCE, log=False)
    if scale is None or scale.slope < 0 or len(scale.ticks) < SHARE * len(labels):
        return None
    return TimeScale(scale, years)


def is_date(text: str) -> bool:
    """Whether a label is a date.

    >>> is_date("19 Mar"), is_date("Mar 2026"), is_date("2026-03"), is_date("Mar Apr")
    (True, True, True, False)
    """
    return _parts(text) is not None


def _parts(text: str) -> tuple[int | None, int, int] | None:
    """Year, month and day of a label. Without a day, the first of the month."""
    for form in FORMS:
        match = form.fullmatch(text.strip())
        if not match:
            continue
        found = match.groupdict()
        name = found.get("month")
        month = MONTHS.index(name.lower()) + 1 if name else int(found["number"])
        day = int(found.get("day") or 1)
        return (int(found["year"]) if found["year"] else None), month, day
    return None
