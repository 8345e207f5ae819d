"""Subjects in every journal: runs, sessions, sub-runs, budgets, stops and keys."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from agent.api.auth import digest
from agent.models.answer_chunks import text as turn
from agent.run.budgets import Exhausted, Prices, Reservation, Shared, TenantBudgets, Window
from agent.run.commands import resume
from agent.run.journal import Journal
from agent.run.ledger import Completion
from agent.run.state import fold
from agent.store import sql_journal
from agent.store.sql.urls import synchronous
from flightloop.chat import Usage
from flightloop.errors import Conflict
from flightloop.events import CallsDecided, ModelCall, RunCreated, RunEnded, RunEvent
from flightloop.keys import ApiKey, Role
from flightloop.runs import Budget, Interrupt, Origin, RunStatus, StopReason
from flightloop.subject import SpeaksFor, Subject
from flightloop.usage import Amounts
from guardrails.interrupt import InterruptSnapshot
from tests.agent.conftest import created

ANN, BOB = Subject(id="ann", claims={"email": "ann@example.com"}), Subject(id="bob")
SHARED = Shared(subject=Budget(tokens=150))


def decided(tokens: int) -> CallsDecided:
    return CallsDecided(calls=[], model=ModelCall(model="m", usage=Usage(prompt_tokens=tokens)))


async def test_a_run_keeps_its_subject(journal: Journal) -> None:
    run = (await journal.create(created(subject=ANN))).run
    assert run.subject == ANN
    assert (await journal.get("default", run.id)).subject == ANN
    assert fold(await journal.events("default", run.id)).subject == ANN


async def test_runs_are_listed_by_subject(journal: Journal) -> None:
    runs = [
        (await journal.create(created(subject=who, session_id=f"s{at}"))).run for at, who in enumerate((ANN, BOB, None))
    ]
    assert [run.id for run in (await journal.runs("default", subject="ann")).data] == [runs[0].id]
    assert (await journal.runs("default", subject="carl")).data == []
    assert len((await journal.runs("default")).data) == 3
    await journal.create(created(subject=ANN, session_id="s3"))
    page = await journal.runs("default", subject="ann", limit=1)
    rest = await journal.runs("default", subject="ann", limit=1, after=page.next_after)
    assert [run.session_id for run in (*page.data, *rest.data)] == ["s3", "s0"]


@pytest.mark.parametrize(("first", "then"), [(ANN, BOB), (ANN, None), (None, ANN)])
async def test_a_session_belongs_to_one_subject(journal: Journal, first: Subject | None, then: Subject | None) -> None:
    await journal.create(created(subject=first))
    with pytest.raises(Conflict, match="session s1 belongs to another subject"):
        await journal.create(created(subject=then))
    assert len((await journal.runs("default")).data) == 1
    await journal.create(created(subject=first))
    await journal.create(created(subject=then, session_id="s2"))
    await journal.create(created(subject=then, tenant_id="other"))


async def test_a_fork_into_the_session_of_another_is_refused(journal: Journal) -> None:
    run = (await journal.create(created(subject=ANN))).run
    await journal.create(created(subject=BOB, session_id="s2"))
    with pytest.raises(Conflict, match="belongs to another subject"):
        await journal.create(created(subject=ANN, session_id="s2", origin=Origin(run_id=run.id, step=0)))


async def test_a_subjects_runs_and_completions_share_a_budget(journal: Journal, clock: Any) -> None:
    ledger = journal.ledger
    await journal.create(created(subject=ANN))
    claim = await journal.claim("w", 30)
    assert claim is not None
    assert await ledger.reserve(claim.lease, Reservation(50, 50), Prices(), SHARED) == Reservation(50, 50)
    completion = Completion("c1", "default", None, "api", "ann")
    assert await ledger.reserve_completion(completion, Reservation(10, 100), Prices(), SHARED) == Reservation(10, 40)
    with pytest.raises(Exhausted, match="the subject's 150 tokens") as error:
        await ledger.reserve_completion(
            Completion("c2", "default", None, "api", "ann"), Reservation(1, 1), Prices(), SHARED
        )
    assert error.value.reason is StopReason.BUDGET_SUBJECT
    for other in (Completion("c3", "default", None, "api", "bob"), Completion("c4", "other", None, "api", "ann")):
        assert await ledger.reserve_completion(other, Reservation(1, 1), Prices(), SHARED) == Reservation(1, 1)
    await ledger.settle(completion, Amounts(steps=1, tokens=30))
    await journal.append(claim.run.id, [decided(20)], claim.lease)
    spending = await ledger.spending("default", Window.DAY, subject="ann")
    assert (spending.used.tokens, spending.reserved.tokens) == (50, 0)
    assert (await ledger.spending("default", Window.DAY, subject="ann%")).used == Amounts()
    clock.forward(24 * 3600)
    assert (await ledger.spending("default", Window.DAY, subject="ann")).used == Amounts()
    assert (await ledger.spending("default", Window.MONTH, subject="ann")).used.tokens == 50


async def test_anonymous_runs_share_no_budget_of_subjects() -> None:
    budgets = TenantBudgets(subject=Budget(tokens=1))
    run = fold([created().model_copy(update={"run_id": "r", "at": datetime.now(UTC)})])
    assert budgets.shared_by(run).subject == Budget()
    assert budgets.shared_by(run.model_copy(update={"subject": ANN})).subject == Budget(tokens=1)


async def test_a_run_that_used_its_subjects_budget_up_is_resumed_once_there_is_more(journal: Journal) -> None:
    await journal.create(created(subject=ANN))
    claim = await journal.claim("w", 30)
    assert claim is not None
    ended = RunEnded(status=RunStatus.FAILED, stop_reason=StopReason.BUDGET_SUBJECT)
    await journal.append(claim.run.id, [decided(100), ended], claim.lease)
    with pytest.raises(Conflict, match="subject ann has used its tokens"):
        await resume(journal, "default", claim.run.id, tenants=TenantBudgets(subject=Budget(tokens=100)))
    more = TenantBudgets(subject=Budget(tokens=200))
    assert (await resume(journal, "default", claim.run.id, tenants=more)).status is RunStatus.QUEUED


async def test_a_run_ends_when_its_subject_has_nothing_left(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([turn("Hello."), turn("Hi.")])
    bench.tenants = TenantBudgets(subject=Budget(steps=1))
    first = await bench.work(await bench.start(subject=ANN))
    second = await bench.work(await bench.start(subject=ANN))
    other = await bench.work(await bench.start(subject=BOB, session_id="s2"))
    assert [run.status for run in (first, second, other)] == ["succeeded", "failed", "succeeded"]
    assert second.stop_reason is StopReason.BUDGET_SUBJECT
    assert second.error is not None
    assert "the subject's 1 steps" in second.error.message


async def test_a_stop_of_a_subject_ends_their_run_at_work(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([turn("Hello."), turn("Hi.")])
    stop = Interrupt(id="i", scope="subject", target="ann", epoch=1, created_at=datetime.now(UTC))
    bench.snapshot = InterruptSnapshot(1, (stop,))
    assert (await bench.work(await bench.start(subject=ANN))).status is RunStatus.INTERRUPTED
    assert (await bench.work(await bench.start(subject=BOB, session_id="s2"))).status is RunStatus.SUCCEEDED
    assert (await bench.work(await bench.start(session_id="s3"))).status is RunStatus.SUCCEEDED


async def test_a_stop_of_a_subject_holds_back_their_runs(journal: Journal) -> None:
    run = (await journal.create(created(subject=ANN))).run
    stop = await journal.raise_interrupt("default", "subject", "ann", "abuse", "op")
    assert [found.scope for found in (await journal.stops(run)).interrupts] == ["subject"]
    claim = await journal.claim("w", 30)
    assert claim is not None
    ended = RunEnded(status=RunStatus.INTERRUPTED, stop_reason=StopReason.INTERRUPT)
    await journal.append(run.id, [ended], claim.lease)
    with pytest.raises(Conflict, match="scope subject"):
        await resume(journal, "default", run.id)
    await journal.clear_interrupt("default", stop.id)
    assert (await resume(journal, "default", run.id)).status is RunStatus.QUEUED


def key(name: str, **fields: Any) -> ApiKey:
    return ApiKey(
        id=f"key_{name}", tenant_id="default", name=name, role=Role.OPERATOR, created_at=datetime.now(UTC), **fields
    )


async def test_keys_keep_what_they_speak_for(journal: Any) -> None:
    bound = key("web", speaks_for=SpeaksFor.ONE, subject=ANN)
    await journal.keys.add(bound, digest(b"web"))
    assert await journal.keys.by_digest(digest(b"web")) == bound


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    found: str = request.getfixturevalue("server").database()
    return found


async def test_the_migration_keeps_runs_and_keys_and_going_back_revokes_bound_keys(url: str) -> None:
    journal = sql_journal(url)
    run = (await journal.create(created())).run
    for name, fields in (
        ("any", {}),
        ("web", {"speaks_for": SpeaksFor.ONE, "subject": ANN}),
        ("none", {"speaks_for": "none"}),
    ):
        await journal.keys.add(key(name, **fields), digest(name.encode()))
    await journal.close()
    engine = create_engine(synchronous(url))
    versions = "agent.store.sql.migrations.versions"
    later = [
        importlib.import_module(f"{versions}.{name}") for name in ("0012_erasure", "0010_counted_calls", "0009_acts")
    ]
    migration = importlib.import_module(f"{versions}.0008_subjects")
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        for one in (*later, migration):
            one.downgrade()
        connection.execute(text("UPDATE alembic_version SET version_num = '0007_write_tools'"))
        documents = [
            json.loads(one) for (one,) in connection.execute(text("SELECT document FROM keys ORDER BY number"))
        ]
    engine.dispose()
    assert [("subject" in one, one["revoked_at"] is None) for one in documents] == [
        (False, True),
        (False, False),
        (False, False),
    ]
    journal = sql_journal(url)
    assert (await journal.get("default", run.id)).subject is None
    restored = await journal.keys.by_digest(digest(b"any"))
    assert restored is not None
    assert (restored.speaks_for, restored.subject) == (SpeaksFor.ANY, None)
    await journal.create(created(subject=ANN, session_id="s2"))
    assert len((await journal.runs("default", subject="ann")).data) == 1
    await journal.close()


@given(
    st.text(min_size=1, max_size=200), st.dictionaries(st.text(max_size=8), st.integers() | st.booleans() | st.text())
)
def test_whatever_a_subject_accepts_it_keeps(name: str, claims: dict[str, Any]) -> None:
    try:
        made = Subject(id=name, claims=claims)
    except ValueError:
        return
    event: RunEvent = created(subject=made)
    assert isinstance(event, RunCreated)
    assert RunCreated.model_validate_json(event.model_dump_json()).subject == made
    assert made.id.isprintable()
    assert made.value("subject.id") == name
    assert all(made.value(f"subject.claims.{one}") == value for one, value in claims.items())
