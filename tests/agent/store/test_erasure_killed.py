"""An erasure that is killed at any point is continued by the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from agent.run.erasure import ErasureFilter
from agent.store import StoreJournal, memory_journal, sql_journal
from agent.store.backend import AuditContext
from agent.store.rules import erasing
from flightloop.acts import Act
from flightloop.errors import StoreUnavailable
from tests.agent.erasures import ANN, KEYS, WORD, Failing, erase, everything, stored, whole_run


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreJournal]:
    context = AuditContext(KEYS)
    url = f"sqlite:///{tmp_path}/journal.db"
    made = memory_journal(audit=context) if request.param == "memory" else sql_journal(url, audit=context)
    yield made
    await made.close()


@pytest.mark.parametrize("portion", [256, 3], ids=["at once", "in portions"])
@pytest.mark.parametrize("after", [False, True], ids=["before a write", "after a write"])
async def test_an_erasure_that_is_killed_anywhere_is_continued(
    monkeypatch: pytest.MonkeyPatch, after: bool, portion: int
) -> None:
    monkeypatch.setattr(erasing, "EVENTS", portion)
    failed, number = True, 0
    while failed:
        number += 1
        journal = memory_journal(audit=AuditContext(KEYS))
        ids = await everything(journal)
        whole = journal.erasure._backend
        journal.erasure._backend = failing = Failing(whole, number, after)  # type: ignore[assignment]
        with suppress(StoreUnavailable):
            await erase(journal)
        failed = failing.failed
        journal.erasure._backend = whole
        await erase(journal)
        assert WORD not in stored(journal, None), f"write {number}"
        assert (await journal.acts.check("default", None)).problems == []
        erasures = [one.object for one in await journal.audit("default") if one.act is Act.ERASURE]
        assert erasures == ids, f"write {number}"  # each once
    assert number > (30 if portion == 3 else 10)


async def test_another_erasure_finishes_one_that_was_killed(
    journal: StoreJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "EVENTS", 3)
    run = await whole_run(journal)
    whole = journal.erasure._backend
    journal.erasure._backend = Failing(whole, 2, False)  # type: ignore[assignment]
    with pytest.raises(StoreUnavailable):
        await journal.erasure.erase(run.id, "request", ANN)
    journal.erasure._backend = whole
    assert (await journal.get("default", run.id)).erased_at is not None  # as lists show it
    assert await erase(journal, ErasureFilter(None, before=run.created_at - timedelta(days=1))) == 1
    assert await journal.erasure.unfinished(None) == []
