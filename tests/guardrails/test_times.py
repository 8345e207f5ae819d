"""Times of day, and dates by their distance from a day, in English and Chinese."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrails.text.relative_dates import moments
from guardrails.text.times import Time, time_of, times

NOW = datetime(2026, 11, 30, 14, 20)  # a Monday


def day(number: int, month: int = 12) -> date:
    return date(2026, month, number)


@pytest.mark.parametrize(
    ("said", "days"),
    [
        ("Remind me tomorrow", {day(1)}),
        ("the day after  tomorrow", {day(2)}),
        ("tonight", {day(30, 11)}),
        ("yesterday", {day(29, 11)}),
        ("next Monday", {day(7)}),
        ("next Wednesday", {day(2), day(9)}),
        ("on Monday", {day(30, 11), day(7)}),
        ("Friday", {day(4)}),
        ("last Friday", {day(27, 11)}),
        ("Tuesday next week", {day(8)}),
        ("in 3 days", {day(3)}),
        ("in two weeks", {day(14)}),
        ("a couple of weeks from now", {day(14)}),
        ("two days ago", {day(28, 11)}),
        ("in a month", {day(30)}),
        ("at the weekend", {day(5), day(6)}),
        ("on the 5th", {day(5)}),
        ("end of next month", {day(31)}),
        ("明天下午三点", {day(1)}),
        ("大后天", {day(3)}),
        ("下周一", {day(7)}),
        ("周三", {day(2)}),
        ("三天后", {day(3)}),
        ("两个星期后", {day(14)}),
        ("5号", {day(5)}),
        ("月底", {day(30, 11)}),
        ("I sat in the sun, in two chairs, in the morning", set()),
        ("the 5th of March", set()),
        ("in 99999 days", set()),
    ],
)
def test_days_by_their_distance(said: str, days: set[date]) -> None:
    assert moments(said, NOW).days == days


@pytest.mark.parametrize(
    ("said", "at"), [("in two hours", Time(16, 20)), ("in half an hour", Time(14, 50)), ("10分钟后", Time(14, 30))]
)
def test_distances_in_hours_are_times_of_day(said: str, at: Time) -> None:
    assert moments(said, NOW) == ({NOW.date()}, {at})


def test_clocks_that_change_in_between_count() -> None:
    night = datetime(2026, 3, 29, 1, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert moments("in one hour", night).times == {Time(3, 30)}
    assert moments("in half an hour", night).times == {Time(3, 0)}


def test_the_year_ends_and_the_calendar_too() -> None:
    assert moments("in 2 months", datetime(2026, 12, 31)).days == {date(2027, 2, 28)}
    assert moments("tomorrow, in 3000 days", datetime(9999, 12, 31, 1)).days == set()


@pytest.mark.parametrize(
    ("said", "hours"),
    [
        ("at 3 pm", {(15, 0)}),
        ("3:30 p.m.", {(15, 30)}),
        ("15:00", {(15, 0)}),
        ("3:30", {(3, 30), (15, 30)}),
        ("12 am", {(0, 0)}),
        ("03:30", {(3, 30)}),
        ("03:30 pm", {(15, 30)}),
        ("three o'clock", {(3, 0), (15, 0)}),
        ("half past four", {(4, 30), (16, 30)}),
        ("a quarter to five", {(4, 45), (16, 45)}),
        ("at noon", {(12, 0)}),
        ("下午三点", {(15, 0)}),
        ("明晚八点半", {(20, 30)}),
        ("上午十点二十分", {(10, 20)}),
        ("15点", {(15, 0)}),
        ("两点一刻", {(2, 15), (14, 15)}),
        ("at 30 euros, 5 %, 25:00, 3 rooms", set()),
        ("at 10 euros, by 5 percent, from 3 people, by 7 days, at 1 of 3", set()),
        ("twenty to one", {(0, 40), (12, 40)}),
    ],
)
def test_times_of_day(said: str, hours: set[tuple[int, int]]) -> None:
    assert times(said) == hours


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("2026-12-01T15:00:00+08:00", (15, 0)),
        ("2026-12-01 09:05", (9, 5)),
        ("15:00", (15, 0)),
        ("3 pm", (15, 0)),
        ("2026-12-01", None),
        ("1500", None),
        ("lunch at noon", None),
    ],
)
def test_a_value_that_is_a_time(value: str, at: tuple[int, int] | None) -> None:
    assert time_of(value) == at


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)), st.integers(0, 3000))
def test_a_distance_in_days_is_read_as_it_is_written(now: datetime, count: int) -> None:
    assert moments(f"in {count} days", now).days == {now.date() + timedelta(count)}
    assert now.date() in moments("today", now).days
    assert moments("下周日", now).days <= {now.date() + timedelta(ahead) for ahead in range(7, 14)}


@given(st.times())
def test_every_time_is_read_as_it_is_written(at: object) -> None:
    text = f"{at:%H:%M}"
    assert time_of(text) in times(f"at {text}")
    assert time_of(f"2026-12-01T{text}") == time_of(text)


@given(st.text(st.sampled_from("in next 12 mon day:TZ上下周一点半 后 the 5th o'clock past half to"), max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert all(0 <= at.hour < 24 and 0 <= at.minute < 60 for at in (*times(text), *moments(text, NOW).times))
    time_of(text)
