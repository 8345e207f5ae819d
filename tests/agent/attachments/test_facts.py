from __future__ import annotations

import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.attachments.facts import ChartFacts, CheckedStatement
from agent.attachments.figures import of_table
from flightloop.content import Table
from tools.vision.measures import Measures

CITIES = Table(columns=["city", "sales"], rows=[["Oslo", 35.347], ["Lima", 81.774], ["Rome", 12.314], ["Kyiv", 57.661]])
YEARS = Table(columns=["year", "North", "South"], rows=[["2020", 1200, 900], ["2021", 1350, 850], ["2022", 1512, 700]])


def facts(table: Table) -> ChartFacts:
    measures = of_table(table)
    assert measures is not None
    return ChartFacts([measures])


def judged(text: str, table: Table = CITIES) -> list[bool]:
    return [one.right for one in facts(table).statements(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Lima has 81.774.",
        "Lima has about 82, and Rome only 12.3.",
        "Oslo and Kyiv have 35 and 58.",
        "Oslo reaches 35.35 while Kyiv reaches 57.7.",
        "Lima is first, with 82.",
        "The total is 187.",
        "The mean is 46.8.",
        "Lima has 43.7% of the sales.",
        "Lima is 46.4 above Oslo.",
        "About 80 in Lima.",
    ],
)
def test_numbers_that_the_values_bear_out(text: str) -> None:
    found = judged(text)
    assert found
    assert all(found)


@pytest.mark.parametrize(
    "text",
    [
        "Oslo has 81.774.",
        "Oslo has 82, and Lima 35.",
        "Rome is first with 82.",
        "Kyiv is the highest, at 57.661.",
        "The lowest value is that of Lima.",
        "Rome has 7 orders.",
    ],
)
def test_statements_that_the_values_refute(text: str) -> None:
    assert False in judged(text)


def test_a_number_that_is_nowhere_is_left_to_the_other_checks() -> None:
    assert judged("Oslo has 77.") == []
    assert judged("Order 12345 is late.") == []


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Sales in the North rose from 2020 to 2022.", True),
        ("Sales in the North fell.", False),
        ("Sales in the South declined.", True),
        ("The South grew from 900 to 700.", False),
        ("The North rose by 26%.", True),
        ("The North had 1,500 in 2022.", True),
    ],
)
def test_directions_of_ordered_values(text: str, right: bool) -> None:
    found = judged(text, YEARS)
    assert found
    assert all(found) is right


def test_digits_in_the_name_of_a_series_are_no_numbers() -> None:
    table = Table(columns=["city", "Series 1", "Team 7"], rows=[["Oslo", 62, 12], ["Lima", 41, 35]])
    assert judged("The largest value of Series 1 is 62, at Oslo.", table) == [True, True]
    assert judged("Team 7 has 35 in Lima, and 7 in Oslo.", table) == [True, False]


def test_what_is_ambiguous_is_not_judged() -> None:
    assert judged("Lima and Kyiv are the top 2.") == []
    assert judged("Lima is 1 of them.") == []
    assert judged("Sales rose and then fell.", YEARS) == []
    assert judged("Sales rose.", YEARS) == []
    assert judged("The second highest city is Kyiv.") == []
    assert judged("The values rose.") == []


class Added(float):
    """A number that counts its additions."""

    count = 0

    def __radd__(self, other: float) -> float:
        Added.count += 1
        return float(other) + float(self)


def test_series_are_summed_and_names_compiled_once_for_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    escaped: list[str] = []
    escape = re.escape
    monkeypatch.setattr(re, "escape", lambda name: escaped.append(name) or escape(name))
    names = tuple(f"City {place}" for place in range(300))
    Added.count = 0
    checked = ChartFacts([Measures(names, ("sales",), (tuple(Added(place + 0.5) for place in range(300)),))])
    found = checked.statements(" ".join(f"City {place} has {place}.5 of sales, which is 99%." for place in range(100)))
    assert len([one for one in found if one.right]) >= 100
    assert len(escaped) <= 301
    assert Added.count <= 3 * 300


async def test_a_long_text_is_checked_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    checked = facts(CITIES)
    plain = checked.statements

    def noted(text: str) -> list[CheckedStatement]:
        threads.append(threading.current_thread().name)
        return plain(text)

    monkeypatch.setattr(checked, "statements", noted)
    assert await checked("Lima has 82. " * 1000, "")
    assert threads[0].startswith("guard")


def test_places_are_those_in_the_text() -> None:
    text = "All is well. Oslo has 81.774 today."
    [wrong] = facts(CITIES).statements(text)
    assert (text[wrong.start : wrong.end], wrong.right, wrong.fact) == ("81.774", False, "the data have Oslo 35.347")


@given(st.text(max_size=300))
def test_any_text_can_be_checked(text: str) -> None:
    for one in facts(YEARS).statements(f"{text} North 1200 {text} 2020 {text}"):
        assert 0 <= one.start < one.end


@given(st.sampled_from(CITIES.rows), st.integers(0, 3))
def test_every_value_is_right_however_it_is_rounded(row: list[object], decimals: int) -> None:
    city, value = row
    assert isinstance(value, float)
    assert judged(f"{city} has {value:.{decimals}f}.") == [True]
