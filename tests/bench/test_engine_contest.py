"""Turns, medians, and peers that fail."""

from __future__ import annotations

from typing import Any

import pytest

from bench.engine.contest import OURS, Taken, alternate, contest, rate, seed_of
from bench.peers.environment import PeerError


class Played:
    """A player whose answers are known; it fails from its ``fails``-th task on."""

    def __init__(self, seconds: list[float], fails: int = 99) -> None:
        self.seconds, self.fails = seconds, fails
        self.asked: list[dict[str, Any]] = []

    def ask(self, task: dict[str, Any]) -> dict[str, Any]:
        if len(self.asked) == self.fails:
            raise PeerError("it broke\nmore lines")
        self.asked.append(task)
        return {"seconds": self.seconds[len(self.asked) - 1], "tokens": 100}


def test_turns_alternate_after_one_warm_up_each() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return float(len(order))

    taken = alternate({"a": lambda: measure("a"), "b": lambda: measure("b")}, 2)
    assert "".join(order) == "ba" + "ab" + "ba"
    assert taken.values == {"a": [3.0, 6.0], "b": [4.0, 5.0]}


def test_all_players_get_the_same_tasks_and_the_first_answer_does_not_count() -> None:
    players = {OURS: Played([99, 1, 2, 4]), "peer": Played([99, 10, 20, 40])}
    taken = contest(players, lambda turn: {"seed": turn}, rate, 3, lambda what: None)
    assert taken.values == {OURS: [100, 50, 25], "peer": [10, 5, 2.5]}
    assert players[OURS].asked == players["peer"].asked == [{"seed": turn} for turn in range(4)]
    row = taken.row("decode", "tok/s", "peer")
    assert (row.value, row.peer_value, row.ratio) == (50, 5, 10)
    assert row.spread == pytest.approx(37.5)
    assert row.peer_spread == pytest.approx(3.75)


@pytest.mark.parametrize("fails", [0, 2])
def test_a_peer_that_fails_costs_its_figures_only(fails: int) -> None:
    players = {OURS: Played([1.0] * 4), "peer": Played([1.0] * 4, fails)}
    taken = contest(players, lambda turn: {}, rate, 3, lambda what: None)
    row = taken.row("decode", "tok/s", "peer", note="int8")
    assert (row.value, row.peer, row.peer_value, row.ratio) == (100, "peer", None, None)
    assert row.note == "int8; it broke"
    assert len(players[OURS].asked) == 4


def test_who_was_out_before_is_told() -> None:
    taken = contest({OURS: Played([1.0] * 2)}, lambda turn: {}, rate, 1, lambda what: None, {"peer": "not installed"})
    assert taken.row("decode", "tok/s", "peer").note == "not installed"


def test_the_better_peer_is_the_one_with_the_higher_median() -> None:
    taken = Taken({"a": [1.0, 9.0, 2.0], "b": [3.0, 3.0, 3.0]})
    assert taken.better("a", "b") == "b"
    assert taken.better("a", "missing") == "a"
    assert taken.better("missing", "other") == "missing"


def test_kinds_of_measurements_share_no_prompts() -> None:
    seeds = {seed_of(kind, turn) for kind in ("decode 1 32", "decode 8 32", "prefill_1000") for turn in range(6)}
    assert len(seeds) == 18
