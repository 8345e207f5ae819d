"""The search for the highest rate of customers, over crowds that are made up."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench import arrivals
from bench.arrivals import Crowd, highest
from flightloop import AsyncFlightloop


@pytest.mark.parametrize(
    ("capacity", "tried", "found"),
    [
        (0.71, [0.5, 1.0, 0.75, 0.625, 0.6875, 0.71875], 0.6875),
        (3.0, [0.5, 1.0, 2.0, 4.0, 3.0, 3.5], 3.0),
        (0.0, [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625], None),
    ],
)
async def test_the_rate_is_doubled_or_halved_and_then_closed_in_on(
    capacity: float, tried: list[float], found: float | None
) -> None:
    asked: list[float] = []

    async def at(rate: float) -> Crowd:
        asked.append(rate)
        return Crowd(rate, (1.0,) if rate <= capacity else (9.0,))

    best = await highest(at)
    assert asked == pytest.approx(tried)
    assert (best.rate if best else None) == (None if found is None else pytest.approx(found))


def test_a_crowd_is_served_when_nearly_all_of_its_turns_are_quick() -> None:
    assert Crowd(1.0, (0.5,) * 99 + (9.0,)).served
    assert not Crowd(1.0, (0.5,) * 90 + (9.0,) * 10).served
    assert not Crowd(1.0, (0.5, 0.5), overrun=True).served
    assert Crowd(1.0, ()).p95 == 0.0


async def test_the_row_says_how_many_machines_take_a_hundred_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    async def come(_client: object, _tasks: object, rate: float, _random: object) -> Crowd:
        return Crowd(rate, (1.0,) if rate <= 0.3 else (5.0,))

    monkeypatch.setattr(arrivals, "come", come)
    row = await arrivals.measure(AsyncFlightloop("http://127.0.0.1:1", "none"), [], Console(file=io.StringIO()))
    assert row.value == pytest.approx(0.296875 * 86_400)  # 25,650
    assert row.note is not None
    assert "100,000 a day take 4 such machines" in row.note
