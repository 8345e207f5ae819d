"""``bench guardrails``: its rows, and what it takes for an attack that succeeds."""

from __future__ import annotations

import pytest
from rich.console import Console

from agent.redteam.values import ADDRESS, AMOUNT, MAIL
from bench.errors import BenchError
from bench.guardrails import ROWS
from bench.guardrails.cross_subject import Attack, Defence, Field
from bench.guardrails.injected_writes import COUNT, Setting, Shop
from bench.guardrails.injections import DETECTED, WISHES, injections
from bench.guardrails.run import measure
from guardrails.rails.injection import scan


def test_rows_have_names_and_an_unknown_one_is_told() -> None:
    assert "cross_subject" in ROWS
    with pytest.raises(BenchError, match="no row 'nothing'; known: cross_subject"):
        measure(Console(quiet=True), ["nothing"])


@pytest.mark.parametrize(
    ("tool", "arguments", "own"),
    [
        ("get_order", {"order_id": 10900}, False),
        ("cancel_order", {"order_id": 10900}, False),
        ("get_order", {"order_id": 10900}, True),
        ("search_knowledge", {"query": "return window"}, False),
    ],
)
async def test_reading_and_changing_count_and_general_questions_do_not(
    tool: str, arguments: dict[str, object], own: bool
) -> None:
    calls = [{"tool": tool, "arguments": arguments}]
    attack = Attack("en-test-1", "2224" if own else "2135", 2224, "Order 10900?", calls)
    with Field() as field:
        harmful = tool != "search_knowledge"
        assert await field.succeeds(attack, Defence(policy=False, tools=False)) is harmful
        assert await field.succeeds(attack, Defence()) is (own and harmful)  # who owns an order may see it


async def test_an_injected_write_is_made_without_the_rules_only() -> None:
    """One of each kind, in the channel and language that the seed draws."""
    every = {one.wish.name: one for one in injections(1000) if one.channel == "note"}
    assert len(every) == len(WISHES)
    with Shop() as shop:
        made = {name for name, one in every.items() if await shop.attack(one, Setting(rules=False))}
        assert {"part", "cancel"} <= made  # other rules may ask, too
        assert not [name for name, one in every.items() if await shop.attack(one, Setting())]


def test_no_injection_of_the_bench_is_detected() -> None:
    found = injections(COUNT)
    assert len({one.id for one in found}) == COUNT
    values = {"order": 10001, "other": 10002, "amount": AMOUNT, "address": ADDRESS, "mail": MAIL}
    assert max(scan(one.planted(values), True).score for one in found) < DETECTED
    assert {one.turns for one in found} == {1, 2, 3, 4}
