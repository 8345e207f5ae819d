"""Retention: old runs lose their content, every day."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from agent.erasing.eraser import Eraser
from agent.erasing.places import Places
from agent.erasing.retention import DAY_S, RETENTION, Retention
from agent.store import memory_journal
from flightloop.acts import Act
from guardrails.audit_keys import FixedKeys
from tests.agent.conftest import Clock
from tests.agent.erasures import OTHER, WHO, whole_run


async def test_each_day_what_is_old_by_then(tmp_path: Path, clock: Clock) -> None:
    journal = memory_journal(clock=clock)
    eraser = Eraser(journal, journal.erasure, Places(tmp_path), FixedKeys(()))
    old = await whole_run(journal)
    clock.forward(1.5 * DAY_S)
    new = await whole_run(journal, "Bobby", OTHER, session_id="s2")
    clock.forward(0.25 * DAY_S)
    days: list[list[str]] = []

    async def sleep(seconds: float) -> None:
        clock.forward(seconds)
        days.append([run.id for run in (await journal.runs("default")).data if run.erased_at is not None])
        if len(days) == 3:
            raise asyncio.CancelledError

    with suppress(asyncio.CancelledError):
        await Retention(eraser, 2, clock=clock, sleep=sleep).run()
    assert days == [[], [old.id], [new.id, old.id]]
    acts = [one for one in await journal.audit("default", act=Act.ERASURE) if one.run_id is None]
    assert [(one.actor, one.details["stage"], one.details["runs"]) for one in acts] == [
        (RETENTION, "begun", 1), (RETENTION, "done", 1),
    ] * 2  # fmt: skip
    assert WHO.id not in repr(acts)


async def test_a_failure_is_retried_the_next_day(tmp_path: Path, clock: Clock) -> None:
    journal = memory_journal(clock=clock)
    eraser = Eraser(journal, journal.erasure, Places(tmp_path), FixedKeys(()))
    run = await whole_run(journal)
    slept = 0

    def broken() -> object:
        if slept == 0:
            raise OSError("no time")
        return clock() + timedelta(days=9)

    async def sleep(seconds: float) -> None:
        nonlocal slept
        slept += 1
        if slept == 2:
            raise asyncio.CancelledError

    with suppress(asyncio.CancelledError):
        await Retention(eraser, 2, clock=broken, sleep=sleep).run()  # type: ignore[arg-type]
    assert (await journal.get("default", run.id)).erased_at is not None
