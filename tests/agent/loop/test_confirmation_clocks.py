"""What was said before what, where several processes with clocks of their own write a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.models.answer_chunks import text
from agent.run.commands import resume
from flightloop.runs import Budget, StopReason
from tests.agent.loop.test_confirmation import LOOK, REFUND, asked, desk, say
from tests.agent.loop.test_trails import Shop


async def test_a_yes_at_the_very_time_of_its_question_is_not_later(tmp_path: Path) -> None:
    """Clocks may be coarse."""
    made = await asked(tmp_path, shop := Shop(), text("It waits."))
    await made.work(await made.start("yes", session_id="s"))
    assert shop.refunded == []


@pytest.mark.parametrize("ahead", [0.5, 3.0])
async def test_a_yes_from_a_clock_that_is_ahead_is_not_later_than_its_question(tmp_path: Path, ahead: float) -> None:
    """It was written while the first run worked."""
    made = desk(tmp_path, shop := Shop(), LOOK, REFUND, text("It waits."))
    first = await made.start("Refund order 17.", session_id="s")
    made.clock.forward(ahead)
    second = await made.start("yes", session_id="s")
    made.clock.forward(-ahead)

    async def both_ended() -> bool:
        return all([(await made.get(run)).ended_at is not None for run in (first, second)])

    await made.until(both_ended, made.worker(concurrency=1, spare=0))
    asking = await made.get(first)
    assert asking.stop_reason == StopReason.CONFIRMATION
    assert shop.refunded == []
    assert asking.ended_at is not None
    assert asking.ended_at > second.created_at


async def test_a_yes_is_as_old_as_its_arrival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store may be busy until the question is there."""
    made = desk(tmp_path, shop := Shop(), LOOK, REFUND, text("It waits."))
    first = await made.start("Refund order 17.", session_id="s")
    write = made.journal._backend.write  # type: ignore[attr-defined]

    async def busy(work: Any) -> Any:
        monkeypatch.setattr(made.journal._backend, "write", write)  # type: ignore[attr-defined]
        made.clock.forward(1)
        assert (await made.work(first)).stop_reason == StopReason.CONFIRMATION
        return await write(work)

    monkeypatch.setattr(made.journal._backend, "write", busy)  # type: ignore[attr-defined]
    await made.work(await made.start("yes", session_id="s"))
    assert shop.refunded == []


async def test_an_answer_from_a_clock_behind_comes_after_the_question(tmp_path: Path) -> None:
    """The yes is to the answer of the earlier run, which was resumed."""
    answers = [text("Shall I tell you more about returns?"), text("It waits.")]
    made = desk(tmp_path, shop := Shop(), LOOK, LOOK, REFUND, *answers)
    early = await made.work(await made.start("And order 17?", session_id="s", budget=Budget(steps=1)))
    assert (await say(made, "Refund order 17.")).stop_reason == StopReason.CONFIRMATION
    await resume(made.journal, "default", early.id, budget=Budget(steps=5))
    made.clock.forward(-2)
    assert (await made.work(early)).stop_reason == StopReason.ANSWERED
    made.clock.forward(2)
    await say(made, "yes")
    assert shop.refunded == []
