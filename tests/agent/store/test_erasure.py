"""Erasure in all stores: nothing of the person is left, everything else stays right, and a kill loses nothing."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine, text

from agent.run.budgets import Window
from agent.run.commands import resume
from agent.run.erased import _CHANGES, erased_event
from agent.run.erasure import ErasureFilter
from agent.run.journal import Idempotency, all_events
from agent.run.state import fold
from agent.store import StoreJournal, memory_journal, sql_journal
from agent.store.backend import AuditContext
from agent.store.sql.urls import synchronous
from flightloop.acts import Act
from flightloop.erasure import ERASED
from flightloop.errors import Conflict, NotFound
from flightloop.events import FeedbackGiven, RunErased, RunEvent
from flightloop.runs import Origin, Rating
from flightloop.subject import Subject
from flightloop.verdicts import Action
from observability.projection import JournalProjection
from tests.agent.erasures import (
    ANN,
    IN_BASE64,
    KEYS,
    OTHER,
    PERSON,
    WHO,
    WORD,
    bytes_of,
    creation,
    erase,
    everything,
    stored,
    verdict,
    whole_run,
)

NO_CONTENT = {"run.started", "run.released", "run.resumed", "checks.passed", "run.erased", "delta"}
"""Types of events that have no text of anybody. A new type must be added here, or to ``agent.run.erased``."""


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    if request.param == "memory":
        return None
    return (
        f"sqlite:///{tmp_path}/journal.db"
        if request.param == "sqlite"
        else request.getfixturevalue("server").database()
    )


@pytest.fixture
async def journal(url: str | None) -> AsyncIterator[StoreJournal]:
    made = opened(url)
    yield made
    await made.close()


def opened(url: str | None) -> StoreJournal:
    context = AuditContext(KEYS)
    return memory_journal(audit=context) if url is None else sql_journal(url, audit=context)


async def test_nothing_of_the_person_is_left(journal: StoreJournal, url: str | None) -> None:
    ids = await everything(journal)
    beside = await whole_run(journal, "Bobby", OTHER, session_id="s9")
    before, their_events = stored(journal, url), await all_events(journal, "default", beside.id)
    assert WORD in before
    assert IN_BASE64 in before
    assert await erase(journal) == 3

    after = stored(journal, url)
    assert WORD not in after
    assert IN_BASE64 not in after
    assert await journal.get("default", beside.id) == beside
    assert await all_events(journal, "default", beside.id) == their_events
    for run_id in ids:
        run = await journal.get("default", run_id)
        assert run.erased_at is not None
        assert run.subject is None
        assert run.input[0].text == ERASED
        events = await all_events(journal, "default", run_id)
        assert [event.seq for event in events] == list(range(1, run.last_seq + 1))
        assert all(event.erased for event in events)
        assert fold(events) == run
    assert await erase(journal) == 0  # again: nothing is left to do
    assert stored(journal, url) == after


async def test_an_erased_run_keeps_its_figures(journal: StoreJournal) -> None:
    run = await whole_run(journal)
    events = await all_events(journal, "default", run.id)
    await erase(journal)
    left = await journal.get("default", run.id)
    for name in ("status", "stop_reason", "usage", "delegated", "confidence", "tainted", "agent", "session_id", "model",
                 "created_at", "started_at", "ended_at", "policy_sha256", "budget"):  # fmt: skip
        assert getattr(left, name) == getattr(run, name), name
    assert left.feedback == Rating(score=2, resolved=False, comment=ERASED)
    new = (await all_events(journal, "default", run.id))[:-1]
    assert figures(new) == figures(events)
    judged = [event.verdict for event in new if event.type == "verdict"]
    assert {(one.rail, one.action, *one.labels) for one in judged} == {("contacts", "block", "contact")}
    assert judged[0].scores == verdict("").scores
    [approval] = await journal.run_approvals(run.id)
    assert (approval.status, approval.arguments, approval.decided_by) == ("denied", {}, "key:ann")
    spent = await journal.ledger.spending("default", Window.DAY)
    assert spent.used.cost == run.usage.cost


def figures(events: list[RunEvent]) -> dict[str, Any]:
    projection = JournalProjection()
    for position, event in enumerate(events, 1):
        projection.apply(position, "default", event)
    return projection.state()


async def test_the_audit_log_verifies_and_has_the_erasure(journal: StoreJournal) -> None:
    ids = await everything(journal)
    before = await journal.audit("default")
    await erase(journal)
    check = await journal.acts.check("default", None)
    assert check.problems == []
    after = await journal.audit("default")
    assert [(one.seq, one.sha256, one.mac, one.previous_sha256) for one in before] == [
        (one.seq, one.sha256, one.mac, one.previous_sha256) for one in after[: len(before)]
    ]
    assert [one.object for one in after if one.act is Act.ERASURE] == ids
    assert all(one.actor == ANN for one in after if one.act is Act.ERASURE)
    assert all(one.verdict is None or one.verdict.reason in ("", ERASED) for one in after)
    assert any(one.erased for one in after)
    assert not all(one.erased for one in after)


async def test_what_is_left_of_an_audit_record_cannot_be_changed(journal: StoreJournal) -> None:
    """Nor can a change be passed off as an erasure by whoever can write the database only."""
    await whole_run(journal)
    await erase(journal)
    [first] = [one for one in await journal.audit("default") if one.erased][:1]
    assert first.verdict is not None
    softened = first.model_copy(update={"verdict": first.verdict.model_copy(update={"action": Action.ALLOW})})
    unsealed = softened.model_copy(update={"erased_key_id": None, "erased_mac": None})
    for forged in (softened, unsealed, softened.model_copy(update={"erased": False})):
        await journal._backend.write(lambda tx, forged=forged: tx.replace_audit(forged))
        problems = (await journal.acts.check("default", None)).problems
        assert [problem.seq for problem in problems] == [first.seq]
    await journal._backend.write(lambda tx: tx.replace_audit(first))
    assert (await journal.acts.check("default", None)).problems == []


async def test_only_ended_runs_are_erased(journal: StoreJournal) -> None:
    run = (await journal.create(creation())).run
    assert await journal.erasure.open_runs(PERSON) == [run.id]
    assert [one async for one in journal.erasure.runs(PERSON)] == []
    with pytest.raises(Conflict, match="is queued: it can only be erased after it has ended"):
        await journal.erasure.erase(run.id, "request", ANN)
    assert (await journal.get("default", run.id)) == run
    assert [one.act for one in await journal.audit("default") if one.act is Act.ERASURE] == []
    with pytest.raises(NotFound):
        await journal.erasure.erase("run_none", "request", ANN)


async def test_nothing_is_added_to_an_erased_run_or_made_from_it(journal: StoreJournal) -> None:
    run = await whole_run(journal)
    await erase(journal)
    left = await journal.get("default", run.id)
    with pytest.raises(Conflict, match="was erased: it cannot be resumed"):
        await resume(journal, "default", run.id)
    with pytest.raises(Conflict, match="was erased: feedback can't be added to it"):
        await journal.append(run.id, [FeedbackGiven(feedback=Rating(score=1, resolved=True))])
    with pytest.raises(Conflict, match="was erased: nothing of it is left to fork"):
        await journal.create(creation(session_id="s5", origin=Origin(run_id=run.id, step=0)))
    replayed = await journal.create(creation(), Idempotency("key-s1", "0" * 64))
    assert replayed.replayed
    assert replayed.run.erased_at == left.erased_at
    assert await journal.get("default", run.id) == left


async def test_the_session_goes_on_without_what_was_erased(journal: StoreJournal) -> None:
    await whole_run(journal)
    await erase(journal)
    for subject in (Subject(id="new"), Subject(id="new")):
        run = (await journal.create(creation("hello", subject))).run
        assert run.session_id == "s1"
    with pytest.raises(Conflict, match="belongs to another subject"):
        await journal.create(creation("hello", WHO))


async def test_writes_stay_known_by_their_hash(journal: StoreJournal) -> None:
    run = await whole_run(journal)
    later = (await journal.create(creation("hello"))).run
    before = await journal.writes(later)
    await erase(journal, ErasureFilter("default", before=datetime.now(UTC) + timedelta(days=1)))
    after = await journal.writes(later)
    assert [(one.args_sha256, one.tool, one.ok, one.denied, one.run_id) for one in after] == [
        (one.args_sha256, one.tool, one.ok, one.denied, one.run_id) for one in before
    ]
    assert {(one.told, str(one.arguments)) for one in after} == {("", "{}")}
    assert {one.run_id for one in after} == {run.id}


async def test_only_the_tenants_own_and_only_the_sessions(journal: StoreJournal) -> None:
    run = await whole_run(journal)
    other = (await journal.create(creation(session_id="s3", subject=None))).run
    assert await erase(journal, ErasureFilter("another", subject=WHO.id)) == 0
    assert await erase(journal, ErasureFilter("default", session_id="s3")) == 0  # it has not ended
    assert await journal.erasure.open_runs(ErasureFilter("default", session_id="s3")) == [other.id]
    assert await erase(journal, ErasureFilter("default", session_id="s1")) == 1
    assert (await journal.get("default", run.id)).erased_at is not None


async def test_by_age(journal: StoreJournal, url: str | None) -> None:
    run = await whole_run(journal)
    assert run.ended_at is not None
    assert await erase(journal, ErasureFilter(None, before=run.ended_at)) == 0
    assert await erase(journal, ErasureFilter(None, before=run.ended_at + timedelta(seconds=1))) == 1
    assert WORD not in stored(journal, url)
    [erased] = [event for event in await all_events(journal, "default", run.id) if isinstance(event, RunErased)]
    assert (erased.reason, erased.by) == ("age", "key:ann")


async def test_runs_of_earlier_versions_have_their_age(url: str | None) -> None:
    if url is None:
        return  # it has no earlier versions
    journal = opened(url)
    run, going = await whole_run(journal), (await journal.create(creation(session_id="s2"))).run
    await journal.close()
    engine = create_engine(synchronous(url))
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        importlib.import_module("agent.store.sql.migrations.versions.0012_erasure").downgrade()
        connection.execute(text("UPDATE alembic_version SET version_num = '0010_counted_calls'"))
    engine.dispose()
    journal = opened(url)
    assert run.ended_at is not None
    for age, wanted in ((-1, []), (2, [run.id])):  # the migration has whole seconds
        filter_ = ErasureFilter(None, before=run.ended_at + timedelta(seconds=age))
        assert [one.id async for one in journal.erasure.runs(filter_)] == wanted
    assert await journal.erasure.open_runs(PERSON) == [going.id]
    await journal.close()


async def test_verdicts_on_completions_lose_their_reasons_by_age(journal: StoreJournal, url: str | None) -> None:
    for _ in range(3):
        await journal.record("default", [verdict(WORD)])
    await whole_run(journal, "Bobby", OTHER)
    await journal.record("default", [verdict(f"{WORD} again")])
    [*_, last] = await journal.audit("default")
    assert await erase(journal, ErasureFilter(None, before=last.at)) == 1
    after = stored(journal, url)
    assert after.count(WORD) == after.count(f"{WORD} again") > 0  # only what is newer
    assert await erase(journal, ErasureFilter(None, before=last.at + timedelta(days=1))) == 0
    assert WORD not in stored(journal, url)
    assert (await journal.acts.check("default", None)).problems == []


async def test_a_stop_that_still_holds_keeps_its_subject(journal: StoreJournal) -> None:
    stop = await journal.raise_interrupt("default", "subject", WHO.id, "fraud", "key:ann", actor=ANN)
    besides = await journal.erasure.erase_besides(PERSON, ANN)
    assert besides.active_stops == (stop.id,)
    assert (await journal.interrupts("default"))[0].target == WHO.id
    await journal.clear_interrupt("default", stop.id, ANN)
    assert (await journal.erasure.erase_besides(PERSON, ANN)).stops == 1
    assert (await journal.interrupts("default", active=False))[0].target == ERASED


async def test_a_subject_with_signs_of_patterns_is_no_pattern(journal: StoreJournal) -> None:
    """SQL's LIKE has its own meaning for %, _ and the sign that escapes them."""
    for at, subject in enumerate(("a%_!b", "aXXYb")):
        await whole_run(journal, "x", Subject(id=subject), session_id=f"s{at}")
    await erase(journal, ErasureFilter("default", subject="a%_!b"))
    kept = await journal.create(creation(), Idempotency("key-s1", "0" * 64))
    gone = await journal.create(creation(), Idempotency("key-s0", "0" * 64))
    assert (kept.run.subject, gone.run.subject) == (Subject(id="aXXYb"), None)


@pytest.mark.parametrize("compacting", [False, True], ids=["emptied log", "new file"])
async def test_no_byte_is_left_in_the_files(tmp_path: Path, compacting: bool) -> None:
    path = tmp_path / "journal.db"
    journal = opened(f"sqlite:///{path}")
    await everything(journal)
    for at in range(20):  # pages split and fill up again
        await whole_run(journal, f"{WORD} {at} " * 300, WHO, session_id=f"many{at}")
    assert WORD.encode() in bytes_of(path)
    await erase(journal)
    assert await journal.erasure.compact(compacting) == []
    found = bytes_of(path)
    assert WORD.encode() not in found
    assert IN_BASE64.encode() not in found
    assert (await journal.acts.check("default", None)).problems == []
    await journal.close()


def test_every_event_says_what_is_erased() -> None:
    union, _ = get_args(RunEvent)
    types = {one.model_fields["type"].default for one in get_args(union)}
    assert {one.model_fields["type"].default for one in _CHANGES} | NO_CONTENT == types
    assert not {one.model_fields["type"].default for one in _CHANGES} & NO_CONTENT


async def test_erasing_twice_is_erasing_once() -> None:
    journal = memory_journal()
    run = await whole_run(journal)
    once = list(map(erased_event, await all_events(journal, "default", run.id)))
    assert list(map(erased_event, once)) == once
    assert WORD not in repr(once)
