"""What only a database can do: survive, be shared, be migrated, be polled cheaply."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine, text

from agent.run.budgets import Prices, Reservation, Shared, Window
from agent.run.ledger import Completion
from agent.store import sql_journal
from agent.store.sql import backend
from agent.store.sql.interrupt_reader import reader
from agent.store.sql.migrate import migrate
from agent.store.sql.node import NodeLock
from agent.store.sql.statement import Statement
from agent.store.sql.tables import metadata
from agent.store.sql.urls import synchronous
from flightloop.chat import Tags
from flightloop.errors import ConfigError, StoreUnavailable
from flightloop.events import CallsDecided, FeedbackGiven, Judged, ModelCall, RunCreated
from flightloop.runs import Budget, Origin, Rating, RunStatus
from flightloop.usage import Amounts
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.interrupt import InterruptWatch
from tests.postgres import Postgres, postgres

ROOT = Path(__file__).parents[3]
CREATED = RunCreated(agent="a", session_id="s", input="hi", budget=Budget())
RATED = FeedbackGiven(feedback=Rating(score=5, resolved=True))  # what needs no lease and leaves the run as it is


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/deep/journal.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/journal.db"
    return str(request.getfixturevalue("server").database())


def test_the_migrations_make_the_tables(any_url: str) -> None:
    url = synchronous(any_url)
    migrate(url)
    migrate(url)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


async def test_forks_that_are_there_already_have_their_writes_in_one_place(any_url: str) -> None:
    """Before, each fork had only its own ones."""
    url = synchronous(any_url)
    journal = sql_journal(any_url)
    first = (await journal.create(CREATED)).run
    runs = [first]
    for number in range(3):
        origin = Origin(run_id=runs[-1].id, step=0)
        runs.append(
            (await journal.create(CREATED.model_copy(update={"session_id": f"f{number}", "origin": origin}))).run
        )
    await journal.close()
    engine = create_engine(url)
    later = ("0012_erasure", "0010_counted_calls", "0009_acts", "0008_subjects", "0007_write_tools", "0006_forks")
    with engine.begin() as connection:
        with Operations.context(MigrationContext.configure(connection)):
            for version in later:
                importlib.import_module(f"agent.store.sql.migrations.versions.{version}").downgrade()
        connection.execute(text("UPDATE alembic_version SET version_num = '0005_writes'"))
        document = json.dumps({"tool": "pay", "arguments": {}, "callers": [runs[2].id]})
        values = {"session_id": runs[2].session_id, "run_id": "child", "call_id": "c", "document": document}
        values |= {"tenant_id": "default", "args_sha256": "0" * 64, "uncertain": False, "told": ""}
        connection.execute(metadata.tables["writes"].insert().values(values))
    engine.dispose()
    journal = sql_journal(any_url)
    for run in runs:
        (written,) = await journal.writes(run)
        assert (written.tool, written.kin) == ("pay", True)
    beside = (await journal.create(CREATED)).run
    assert [one.kin for one in await journal.writes(beside)] == [False]
    forked = await journal.create(
        CREATED.model_copy(update={"session_id": "new", "origin": Origin(run_id=runs[3].id, step=0)})
    )
    assert [one.kin for one in await journal.writes(forked.run)] == [True]
    await journal.close()


def test_every_table_has_a_tenant() -> None:
    assert [table.name for table in metadata.sorted_tables if "tenant_id" not in table.c] == []


async def test_everything_survives_a_restart(any_url: str) -> None:
    first = sql_journal(any_url)
    run = (await first.create(CREATED)).run
    interrupt = await first.raise_interrupt("default", "all", reason="fire")
    await first.close()
    second = sql_journal(any_url)
    assert await second.get("default", run.id) == run
    assert await second.interrupts("default") == [interrupt]
    claim = await second.claim("w", 30)
    assert claim is not None
    assert claim.run.id == run.id
    await second.close()


async def test_commits_are_flushed_to_the_disk(url: str) -> None:
    journal = sql_journal(url)
    with closing(journal._backend._database.connect()) as connection:  # type: ignore[attr-defined]
        assert connection.rows(Statement("PRAGMA synchronous")) == [(2,)]  # FULL
        assert connection.rows(Statement("PRAGMA journal_mode")) == [("wal",)]
    await journal.close()


async def test_two_programs_share_a_journal(any_url: str) -> None:
    here, there = sql_journal(any_url, poll_s=0.01), sql_journal(any_url, poll_s=0.01)
    run = (await here.create(CREATED)).run
    waiting = asyncio.create_task(there.wait(run.id, 1, 10))
    await here.append(run.id, [RATED])
    assert await waiting
    claims = await asyncio.gather(here.claim("w1", 30), there.claim("w2", 30))
    assert sum(claim is not None for claim in claims) == 1
    await asyncio.gather(*(journal.append(run.id, [RATED]) for journal in (here, there) for _ in range(10)))
    events = await here.events("default", run.id)
    assert [item.seq for item in events] == list(range(1, 24))
    await here.close()
    await there.close()


async def test_who_follows_all_events_misses_none(any_url: str) -> None:
    writers = [sql_journal(any_url, poll_s=0.01) for _ in range(3)]
    runs = [(await journal.create(CREATED)).run for journal in writers]
    seen: list[int] = []

    async def write(number: int) -> None:
        for _ in range(20):
            await writers[number].append(runs[number].id, [RATED])

    writing = asyncio.gather(*map(write, range(3)))
    while not writing.done() or len(seen) < 63:
        seen += [each.position for each in await writers[0].read_all(after=seen[-1] if seen else 0)]
        await asyncio.sleep(0)
    await writing
    assert seen == sorted(each.position for each in await writers[0].read_all())
    for journal in writers:
        await journal.close()


HOLDING = """
import asyncio, os, sys
from agent.store import sql_journal

async def hold():
    journal = sql_journal(sys.argv[1])
    assert await journal.claim("the dead", 3600)
    os._exit(9)

asyncio.run(hold())
"""


async def test_the_runs_of_a_dead_worker_are_free_at_once(any_url: str) -> None:
    journal = sql_journal(any_url)
    run = (await journal.create(CREATED)).run
    died = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDING, any_url, cwd=ROOT)
    assert await died.wait() == 9
    assert (await journal.get("default", run.id)).status is RunStatus.RUNNING
    while (claim := await journal.claim("the living", 3600)) is None:  # the server hears of the death later
        await journal.wait_for_work(0.1)
    assert claim.lease.fence == 2
    await journal.close()


RESERVING = """
import asyncio, os, sys
from agent.run.budgets import Prices, Reservation, Shared, Window
from agent.run.ledger import Completion
from agent.store import sql_journal
from flightloop.runs import Budget

async def reserve():
    ledger = sql_journal(sys.argv[1]).ledger
    completion = Completion("cmpl_1", "default", None, "the dead")
    await ledger.reserve_completion(completion, Reservation(50, 50), Prices(), Shared(tenant=Budget(tokens=100)))
    print((await ledger.spending("default", Window.DAY)).reserved.tokens)
    sys.stdout.flush()
    os._exit(9)

asyncio.run(reserve())
"""


async def test_the_dead_keep_nothing_reserved(any_url: str) -> None:
    died = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RESERVING, any_url, cwd=ROOT, stdout=subprocess.PIPE
    )
    told, _ = await died.communicate()
    assert (died.returncode, told.strip()) == (9, b"100")
    journal = sql_journal(any_url)
    assert (await journal.ledger.spending("default", Window.DAY)).reserved == Amounts()
    wanted, shared = Reservation(50, 50), Shared(tenant=Budget(tokens=100))
    completion = Completion("cmpl_2", "default", None, "the living")
    assert await journal.ledger.reserve_completion(completion, wanted, Prices(), shared) == wanted
    await journal.close()


async def test_two_workers_have_two_names(any_url: str) -> None:
    here, there = sql_journal(any_url), sql_journal(any_url)
    await here.claim("w1", 30)
    await here.claim("w1", 30)
    with pytest.raises(ConfigError, match="named 'w1'"):
        await there.claim("w1", 30)
    await here.close()
    await there.claim("w1", 30)
    await there.close()


async def test_the_runs_of_a_living_worker_are_not(any_url: str) -> None:
    here, there = sql_journal(any_url), sql_journal(any_url)
    await here.create(CREATED)
    assert await here.claim("w/1", 3600)
    assert await there.claim("w2", 3600) is None
    await here.close()
    async with asyncio.timeout(30):  # a server may take its time to notice
        while await there.claim("w2", 3600) is None:
            await there.wait_for_work(0.05)
    await there.close()


async def test_a_database_may_be_started_again(server: Postgres) -> None:
    with postgres(server.programs) as other:
        journal = sql_journal(other.url("pattern"))
        run = (await journal.create(CREATED)).run
        other.control("-m", "immediate", "stop")
        with pytest.raises(StoreUnavailable):
            await journal.append(run.id, [RATED])
        other.start()
        assert await journal.claim("w", 3600)
        other.control("-m", "immediate", "stop")
        other.start()
        assert await journal.claim("w", 3600) is None  # and it appears again
        neighbour = sql_journal(other.url("pattern"))
        assert await neighbour.claim("w2", 3600) is None
        await neighbour.close()
        await journal.append(run.id, [RATED])
        assert [event.seq for event in await journal.events("default", run.id)] == [1, 2, 3]
        await journal.close()


async def test_a_writer_goes_on_with_another_connection(server: Postgres) -> None:
    journal = sql_journal(server.database())
    run = (await journal.create(CREATED)).run
    engine = create_engine(synchronous(server.url("postgres")), isolation_level="AUTOCOMMIT")
    with engine.connect() as other:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = "
        name = journal._backend._database.url.database  # type: ignore[attr-defined]
        assert other.exec_driver_sql(f"{ended} '{name}'").fetchall()
    engine.dispose()
    # Nothing was asked for meanwhile, so nothing is lost; what waits together shares the new one's transaction.
    await asyncio.gather(*(journal.append(run.id, [RATED]) for _ in range(5)))
    assert [event.seq for event in await journal.events("default", run.id)] == [1, 2, 3, 4, 5, 6]
    await journal.close()


async def test_a_lock_that_is_waited_for_too_long_spoils_nothing(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "PATIENCE_MS", 100)
    url = server.database()
    journal, engine = sql_journal(url), create_engine(synchronous(url))
    with engine.connect() as other:
        other.exec_driver_sql(f"SELECT pg_advisory_xact_lock({backend.WRITERS})")
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="lock timeout"):
                await journal.create(CREATED)
    engine.dispose()
    assert (await journal.create(CREATED)).run.status == "queued"
    await journal.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await journal.create(CREATED)


async def test_a_step_costs_the_same_however_long_the_run_is(url: str) -> None:
    journal = sql_journal(url)
    statements: list[str] = []
    # The values in a statement differ, its words don't.
    note: Callable[[str], None] = lambda said: statements.append(re.sub(r"'[^']*'|[\d.]+", "?", said))  # noqa: E731
    run = (await journal.create(CREATED)).run
    journal._backend._writer._connection._connection.driver.set_trace_callback(note)  # type: ignore[attr-defined]
    claim = await journal.claim("w", 30)
    assert claim is not None
    step = [
        CallsDecided(calls=[], model=ModelCall(model="m")),
        Judged(verdict=Verdict(action=Action.ALLOW, rail="r", stage=Stage.FINAL)),
    ]
    costs = []
    for _ in range(60):
        statements.clear()
        await journal.append(run.id, step, claim.lease)
        costs.append(list(statements))
    assert costs[1] == costs[-1]
    row = sqlite3.connect(url.removeprefix("sqlite:///"))
    (size,) = row.execute("SELECT length(document) FROM runs").fetchone()
    row.close()
    assert size < 2000
    await journal.close()


async def test_sqlite_refuses_a_second_node_while_the_first_one_lives(url: str) -> None:
    database = Path(url.removeprefix("sqlite:///"))
    elsewhere = NodeLock(database, "another-kernel there")
    with pytest.raises(ConfigError, match="is in use on there"):
        sql_journal(url)
    elsewhere.release()
    here, beside = sql_journal(url), sql_journal(url)
    await here.close()
    with pytest.raises(ConfigError, match="is in use on"):
        NodeLock(database, "another-kernel there")
    await beside.close()
    NodeLock(database, "another-kernel there").release()


async def test_a_dead_program_holds_no_lock(url: str) -> None:
    database = Path(url.removeprefix("sqlite:///"))
    imports = "import os; from pathlib import Path; from agent.store.sql.node import NodeLock"
    died = f"{imports}; NodeLock(Path({str(database)!r}), 'another-kernel there'); os._exit(1)"
    subprocess.run([sys.executable, "-c", died], cwd=ROOT)  # noqa: ASYNC221
    assert Path(f"{database}.node").read_text() == "another-kernel there"  # noqa: ASYNC240
    await sql_journal(url).close()


def test_a_bad_url_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        sql_journal("not a url")
    (tmp_path / "file").write_text("no database, only text" * 100)
    with pytest.raises(ConfigError, match="cannot open the journal"):
        sql_journal(f"sqlite:///{tmp_path}/file")
    with pytest.raises(ConfigError) as caught:
        sql_journal(f"sqlite:///{tmp_path}/file/below/it")
    assert "\n" not in caught.value.message


async def test_an_asynchronous_drivers_url_is_taken_too(tmp_path: Path) -> None:
    journal = sql_journal(f"sqlite+aiosqlite:///{tmp_path}/journal.db")
    assert (await journal.create(CREATED)).run.status is RunStatus.QUEUED
    await journal.close()


async def test_the_reader_sees_raising_and_clearing(any_url: str) -> None:
    journal = sql_journal(any_url)
    read = reader(any_url)
    assert read().interrupts == ()
    interrupt = await journal.raise_interrupt("default", "agent", "support")
    assert read().interrupts == (interrupt,)
    assert read() is read()  # nothing is parsed again while the epoch stays
    assert read() == await journal.interrupt_snapshot()
    cleared = await journal.clear_interrupt("default", interrupt.id)
    assert read().interrupts == (cleared,)
    assert read() == await journal.interrupt_snapshot()
    read.close()
    await journal.close()


async def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/50% #1/journal.db"
    journal = sql_journal(url)
    assert reader(url)() == await journal.interrupt_snapshot()
    await journal.close()


async def test_the_reader_fails_loudly_without_a_database_and_recovers(url: str) -> None:
    read = reader(url)
    with pytest.raises(sqlite3.Error):
        read()
    assert not os.path.exists(url.removeprefix("sqlite:///"))  # noqa: ASYNC240
    watch = InterruptWatch(read, max_silence_s=60)
    watch.poll()
    assert watch.stopped(Tags(), 0)
    journal = sql_journal(url)
    watch.poll()
    assert not watch.stopped(Tags(), 0)
    await journal.close()
