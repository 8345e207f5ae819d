from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.vision.dates import is_date, time_scale


@pytest.mark.parametrize(
    "text", ["19 Mar", "1. June", "Mar 2026", "Sept", "2026-03", "2026/3/19", "2026年3月", "May 4, 2026"]
)
def test_dates_are_recognised(text: str) -> None:
    assert is_date(text)


@pytest.mark.parametrize("text", ["", "Market", "Mayor", "2026", "12", "Q1", "Mar Apr", "2026-13-", "Oslo"])
def test_other_labels_are_no_dates(text: str) -> None:
    assert not is_date(text)


def test_labels_without_years_follow_each_other_over_new_year() -> None:
    scale = time_scale([(0.0, "1 Nov"), (30.0, "1 Dec"), (61.0, "1 Jan"), (92.0, "1 Feb")])
    assert scale
    assert (scale.name(45.0), scale.name(75.0)) == ("16 Dec", "15 Jan")


def test_a_misread_label_does_no_harm() -> None:
    scale = time_scale([(0.0, "2026-01-01"), (31.0, "2026-02-01"), (59.0, "2026-03-31"), (90.0, "2026-04-01")])
    assert scale
    assert scale.name(45.0) == "2026-02-15"


@pytest.mark.parametrize("texts", [("Oslo", "Lima", "Rome"), ("1 Mar", "1 Apr"), ("31 Feb", "31 Apr", "31 Jun"), ()])
def test_labels_without_a_scale_have_none(texts: tuple[str, ...]) -> None:
    assert time_scale([(40.0 * place, text) for place, text in enumerate(texts)]) is None


@given(st.dates(date(1900, 1, 1), date(2090, 1, 1)), st.integers(7, 400), st.floats(0.2, 3.0))
def test_positions_are_named_by_their_dates(first: date, step: int, pixels: float) -> None:
    days = [first + timedelta(days=step * place) for place in range(5)]
    scale = time_scale([((day - first).days * pixels * 10, day.isoformat()) for day in days])
    assert scale
    middle = first + timedelta(days=step)
    assert scale.name((middle - first).days * pixels * 10) == middle.isoformat()


@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_labels_give_a_scale_or_none(texts: list[str]) -> None:
    scale = time_scale([(50.0 * place, text) for place, text in enumerate(texts)])
    assert scale is None or scale.name(-1e9)
