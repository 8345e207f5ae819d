"""A tenant's budget, bound by bound."""

import pytest

from dashboards.spending import Bound, bounds
from flightloop.runs import Budget
from flightloop.usage import Amounts, Spending


def bound(used: float, limit: float | None, reserved: float = 0) -> Bound:
    return Bound("tokens", used, reserved, limit)


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (bound(79, 100), set()),
        (bound(80, 100), {"nearly"}),
        (bound(60, 100, reserved=40), {"taken"}),
        (bound(90, 100, reserved=10), {"nearly", "taken"}),
        (bound(100, 100, reserved=10), {"exhausted"}),
        (bound(130, 100), {"exhausted"}),
        (bound(10**9, None), set()),
        (bound(0, 0), set()),
        (bound(0.01, 0), {"exhausted"}),
    ],
)
def test_what_is_to_say_of_a_bound(given: Bound, state: set[str]) -> None:
    assert {name for name in ("nearly", "taken", "exhausted") if getattr(given, name)} == state


@pytest.mark.parametrize(
    ("given", "left"), [(bound(60, 100, reserved=15), 25), (bound(130, 100), 0), (bound(5, None), None)]
)
def test_what_is_left_is_neither_used_nor_reserved(given: Bound, left: float | None) -> None:
    assert given.left == left


def test_all_amounts_are_told_bounded_or_not() -> None:
    used = Amounts(steps=3, tokens=40_000, seconds=7200, cost=0.5)
    found = bounds(Spending(used=used, reserved=Amounts(tokens=10), budget=Budget(tokens=50_000)))
    assert [(each.label, each.text(each.used), each.limit) for each in found] == [
        ("Steps", "3", None),
        ("Tokens", "40k", 50_000),
        ("Working time", "2.0 h", None),
        ("Cost", "€ 0.5000", None),
    ]
    assert found[1].reserved == 10
    assert [each.name for each in found] == list(Budget.model_fields)
