"""Retention: old runs lose their content, every day."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from agent.config import Settings
from agent.erasing.eraser import Eraser
from agent.erasing.places import Places
from agent.erasing.retention import DAY_S, RETENTION, Retention
from agent.reporting.background import background
from agent.serve import factories
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


async def test_the_server_erases_at_its_start_what_is_old(tmp_path: Path) -> None:
    journal = memory_journal(clock=Clock(), poll_s=0.01)  # of January 2026
    run = await whole_run(journal)
    settings = Settings(home=tmp_path, model_url="http://127.0.0.1:1/v1", retention_days=1)
    async with background(factories.erase_old_runs(settings, journal)):
        assert await journal.wait(run.id, run.last_seq, 10)
    assert (await journal.get("default", run.id)).erased_at is not None
    async with background(factories.erase_old_runs(settings.model_copy(update={"retention_days": None}), journal)):
        pass  # without a setting there is nothing to do
