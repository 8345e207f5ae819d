"""A write that its session has made is not made again because the user asks for the same kind of act."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.models.answer_chunks import calls, text
from tests.security.test_repeated_writes import PAY, clock, done, journal, make_bench, make_office

__all__ = ["clock", "journal", "make_bench", "make_office"]


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()


@pytest.mark.parametrize("asked", ["Pay Bob", "pay bob, please", "Now pay only Bob; Ada was paid", "Pay Bob again"])
async def test_while_the_user_asks_for_it_for_somebody_else(make_office: Callable[..., Any], asked: str) -> None:
    bench = make_office(calls(PAY), text("Ada was paid."), calls(PAY))
    await bench.work(await bench.start("Pay Ada", session_id="s"))
    run = await bench.work(await bench.start(asked, session_id="s"))
    assert (run.status, done) == ("waiting_approval", ["Ada"])
