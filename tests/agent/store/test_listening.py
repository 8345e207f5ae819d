"""On PostgreSQL, whoever waits for a run or for work is woken by other processes' writes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import psycopg
import pytest

from agent.store import sql_journal
from agent.store.journal import StoreJournal
from agent.store.sql.connection import Database
from agent.store.sql.listener import Listener
from flightloop.events import FeedbackGiven, RunCreated
from flightloop.runs import Budget, Rating
from tests.postgres import Postgres

NEVER_S = 600.0
RATED = FeedbackGiven(feedback=Rating(score=5, resolved=True))


def created() -> RunCreated:
    return RunCreated(agent="a", session_id="s", input="hi", budget=Budget())


@pytest.fixture
async def two(server: Postgres) -> AsyncIterator[tuple[StoreJournal, StoreJournal]]:
    """Journals as two processes have them, of which neither looks by itself in a test's time."""
    url = server.database()
    here, there = (sql_journal(url, poll_s=NEVER_S) for _ in range(2))
    yield here, there
    await here.close()
    await there.close()
    server.drop(url)


async def test_who_waits_for_a_run_is_woken(two: tuple[StoreJournal, StoreJournal]) -> None:
    here, there = two
    run = (await here.create(created())).run
    waiting = asyncio.create_task(here.wait(run.id, run.last_seq, NEVER_S))
    await asyncio.sleep(0)
    await there.append(run.id, [RATED])
    assert await asyncio.wait_for(waiting, 30)


async def test_who_waits_for_work_is_woken(two: tuple[StoreJournal, StoreJournal]) -> None:
    here, there = two
    waiting = asyncio.create_task(here.wait_for_work(NEVER_S))
    await asyncio.sleep(0)
    await there.create(created())
    await asyncio.wait_for(waiting, 30)
    assert await here.claim("w", 30) is not None


async def test_topics_are_heard_again_after_the_connection_was_lost(server: Postgres) -> None:
    url = server.database()
    heard: list[str | None] = []
    came = threading.Event()

    def hear(topic: str | None) -> None:
        heard.append(topic)
        came.set()

    async def next_one() -> str | None:
        assert await asyncio.to_thread(came.wait, 30)
        came.clear()
        return heard[-1]

    listener = Listener(Database.of(url), hear)
    journal = sql_journal(url)
    try:
        assert await next_one() is None  # it listens from now on, and has missed what there was before
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            )
        assert await next_one() is None
        run = (await journal.create(created())).run
        async with asyncio.timeout(30):
            while run.id not in heard:
                await next_one()
    finally:
        listener.close()
        await journal.close()
