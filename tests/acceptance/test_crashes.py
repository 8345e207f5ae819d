"""Killed anywhere, a run goes on from its last committed step: nothing is lost, nothing happens twice.

`make crash` plays every case (``--every-crash``); otherwise it is a sample of them, drawn by a fixed seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from agent.project.subagent import run_id
from agent.run.journal import Journal
from agent.run.state import fold
from agent.store import sql_journal
from flightloop.content import text_of
from flightloop.events import RunCreated, RunEvent
from flightloop.runs import Budget, Run
from tests.acceptance.crashing import EFFECT, STEPS, WRITE, Case, Ledger, Stop, forked, stands_still
from tests.postgres import Postgres, postgres

EFFECTS = ("pure", "keyed", "transactional", "unsafe")
NEVER = 0
CREATED = RunCreated(agent="helper", session_id="s", input="Charge my card.", budget=Budget())
PATIENCE_S = 60.0


def cases() -> list[Case]:
    """Point, moment, step, parallel calls and effect; and the points of an approval."""
    found = []
    for effect in EFFECTS:
        for parallel in (1, 3):
            calls = STEPS * parallel
            times = {
                "run.started": (1,),
                "decision.calls": range(1, STEPS + 1),
                "tool.intent": range(1, calls + 1),
                EFFECT: range(1, calls + 1),
                "tool.result": range(1, calls + 1),
                "decision.reply": (1,),
                "run.ended": (1,),
            }
            for point, numbers in times.items():
                for moment in ("before", "after"):
                    found += [Case(effect, point, moment, number, parallel) for number in numbers]
            for point in ("approval.requested", "approval.decided"):
                for moment in ("before", "after"):
                    found += [Case(effect, point, moment, number, parallel, asks=True) for number in (1, calls)]
    return [*found, *delegated()]


def delegated() -> list[Case]:
    """Around what a run and those that work for it write."""
    points = ("tool.intent", EFFECT, "tool.result", "run.released", "run.ended", "agent.returned", "run.resumed")
    return [
        Case(effect, point, moment, number, parallel, delegates=True)
        for effect in ("keyed", "unsafe")
        for parallel in (1, 3)
        for point in points
        for moment in ("before", "after")
        for number in (1, STEPS * parallel)
        # Calls that are made together may be waited for once.
        if not (point in ("run.released", "run.resumed") and number > STEPS)
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    every = metafunc.config.getoption("--every-crash")
    if "case" in metafunc.fixturenames:
        sample = [*random.Random(7).sample(cases(), 10), *random.Random(8).sample(delegated(), 4)]
        metafunc.parametrize("case", cases() if every else sample, ids=str)
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(100 if every else 3))


@dataclass
class Scene:
    """A database with one run, and its ledger."""

    url: str
    ledger: Ledger
    journal: Journal
    run: Run

    @property
    def key(self) -> str:
        """Of the first call."""
        return f"{self.run.id}:1:0"

    def begin(self, case: Case, stop: Stop = "die", fenced: bool = True) -> BaseProcess:
        return forked(self.url, self.ledger.path, case, stop, fenced)

    def play(self, case: Case) -> int | None:
        """Runs a process to its end; tells how it ended."""
        process = self.begin(case)
        process.join(PATIENCE_S)
        return process.exitcode

    async def events(self) -> list[RunEvent]:
        return await self.journal.events("default", self.run.id)


@asynccontextmanager
async def staged(url: str, folder: Path) -> AsyncIterator[Scene]:
    ledger = Ledger(folder / "ledger")
    ledger.path.touch()
    journal = sql_journal(url)
    yield Scene(url, ledger, journal, (await journal.create(CREATED)).run)
    await journal.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    if request.param == "sqlite":
        async with staged(f"sqlite:///{tmp_path}/journal.db", tmp_path) as made:
            yield made
        return
    server: Postgres = request.getfixturevalue("server")
    url = server.database()
    async with staged(url, tmp_path) as made:
        yield made
    server.drop(url)


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not met():  # noqa: ASYNC110  (nobody tells: it is about another process)
            await asyncio.sleep(0.01)


async def check(scene: Scene, case: Case, before: list[RunEvent] | None = None) -> None:
    """What has to hold of a run that ended after all; ``before``: what was there after the only crash."""
    events, run = await scene.events(), await scene.journal.get("default", scene.run.id)
    assert (run.status, text_of(run.output or []), run.usage.steps) == ("succeeded", "Done.", STEPS + 1)
    assert fold(events) == run
    # A reader misses no event and sees none twice.
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    # Each call has one result.
    keys = [f"{run.id}:{step}:{call}" for step in range(1, STEPS + 1) for call in range(case.parallel)]
    own = keys
    if case.delegates:
        own = [f"{run_id(key)}:1:0" for key in keys]
        await check_children(scene, [run_id(key) for key in keys])
    results = Counter(event.call_id for event in events if event.type == "tool.result")
    assert sorted(results.values()) == [1] * len(keys)
    assert [event.key for event in events if event.type == "tool.intent"].count(keys[0]) == 1
    # Effects are as often as their kind allows.
    attempts, applied = ([scene.ledger.count(f"{what} {key}") for key in own] for what in ("attempt", "applied"))
    if case.effect in ("keyed", "transactional"):
        assert applied == [1] * len(keys)
    if case.effect == "unsafe":
        assert max(attempts) <= 1
        lost = [event for event in events if event.type == "tool.result" and not event.ok]
        assert all("unknown after a crash" in str(event.error) for event in lost)
    else:
        assert all(event.ok for event in events if event.type == "tool.result")
    if before is None:
        return
    assert events[: len(before)] == before
    assert sum(not event.ok for event in events if event.type == "tool.result") <= case.parallel
    # What a model had said and the journal had kept, no model was asked for again.
    decided = sum(event.type in ("decision.calls", "decision.reply") for event in before)
    asked = [scene.ledger.count(f"model {step}") for step in range(STEPS + 1)]
    assert asked[:decided] == [1] * decided
    assert all(1 <= count <= 2 for count in asked[decided:])


async def check_children(scene: Scene, ids: list[str]) -> None:
    """Each call has one run that worked on it, and the run that asked was told of its end once."""
    found = (await scene.journal.runs("default", parent=scene.run.id, limit=100)).data
    assert sorted(run.id for run in found) == sorted(ids)
    for run in found:
        events = await scene.journal.events("default", run.id)
        assert (run.status, text_of(run.output or [])) == ("succeeded", "Charged.")
        assert fold(events) == run
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
    told = Counter(event.performed_by for event in await scene.events() if event.type == "agent.returned")
    assert told == Counter(ids)


async def survive(scene: Scene, case: Case) -> None:
    assert scene.play(case) == -signal.SIGKILL
    before = await scene.events()
    assert scene.play(replace(case, nth=NEVER)) == 0
    await check(scene, case, before)


async def test_a_killed_run_ends_as_if_it_had_not_been(scene: Scene, case: Case) -> None:
    await survive(scene, case)


async def test_killed_at_any_time_again_and_again(scene: Scene, seed: int) -> None:
    source = random.Random(seed)
    case = Case(source.choice(EFFECTS), nth=NEVER, parallel=source.choice((1, 3)))
    for _ in range(4):
        process = scene.begin(case)
        process.join(source.uniform(0.05, 0.6))
        process.kill()
        process.join()
    assert scene.play(case) == 0
    await check(scene, case)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_killed_around_a_compaction(scene: Scene, moment: str) -> None:
    await survive(scene, Case("keyed", "context.compacted", moment, context=1200))
    compacted = [event for event in await scene.events() if event.type == "context.compacted"]
    assert [event.through_step for event in compacted] == [STEPS - 1]


@pytest.mark.parametrize("point", ["run.started", "tool.result", "run.ended"])
async def test_killed_while_it_recovers(scene: Scene, point: str) -> None:
    case = Case("keyed", "tool.intent", "after", 2)
    for crash in (case, replace(case, point=point, nth=1)):
        assert scene.play(crash) == -signal.SIGKILL
    assert scene.play(replace(case, nth=NEVER)) == 0
    await check(scene, case)


async def stopped_and_overtaken(scene: Scene, fenced: bool) -> Case:
    """A worker stands still past its lease; another one goes on, and stands still later; then the first continues."""
    case = Case("keyed", WRITE, lease_s=1.0)
    first = scene.begin(case, "freeze", fenced)
    await until(lambda: stands_still(first))
    second = scene.begin(Case("keyed", EFFECT, "before", 3), "freeze")
    await until(lambda: stands_still(second))
    assert first.pid is not None
    assert second.pid is not None
    os.kill(first.pid, signal.SIGCONT)
    await until(lambda: scene.ledger.count("written late") == 1)
    os.kill(second.pid, signal.SIGCONT)
    for process in (first, second):
        process.join(PATIENCE_S)
    return case


async def test_a_worker_that_stood_still_past_its_lease_writes_nothing(scene: Scene) -> None:
    case = await stopped_and_overtaken(scene, fenced=True)
    await check(scene, case)


async def test_without_the_fence_it_would_be_found(scene: Scene) -> None:
    case = await stopped_and_overtaken(scene, fenced=False)
    with pytest.raises(AssertionError):
        await check(scene, case)


async def test_without_the_journal_it_would_be_found(scene: Scene, tmp_path: Path) -> None:
    case = Case("unsafe", EFFECT, "after", 2)
    assert scene.play(case) == -signal.SIGKILL
    forgotten = sql_journal(url := f"sqlite:///{tmp_path}/other.db")
    run = (await forgotten.create(CREATED.model_copy(update={"run_id": scene.run.id}))).run
    other = Scene(url, scene.ledger, forgotten, run)
    assert other.play(replace(case, nth=NEVER)) == 0
    with pytest.raises(AssertionError):
        await check(other, case)
    await forgotten.close()


async def test_the_database_is_started_again(server: Postgres, tmp_path: Path) -> None:
    with postgres(server.programs) as other:
        async with staged(other.url("pattern"), tmp_path) as scene:
            case = Case("keyed", EFFECT, "before", 2)
            process = scene.begin(case, "freeze")
            await until(lambda: stands_still(process))
            other.control("-m", "immediate", "stop")
            os.kill(process.pid or 0, signal.SIGCONT)
            await until(lambda: scene.ledger.count("refused") > 0)
            other.start()
            process.join(PATIENCE_S)
            assert process.exitcode == 0
            await check(scene, case)


async def test_the_disk_is_full_for_a_while(tmp_path: Path) -> None:
    async with staged(f"sqlite:///{tmp_path}/journal.db", tmp_path) as scene:
        case = Case("keyed", EFFECT, "before", 2)
        process = scene.begin(case, "freeze")
        await until(lambda: stands_still(process))
        pid, limit = process.pid or 0, resource.RLIMIT_FSIZE
        full = (tmp_path / "journal.db-wal").stat().st_size
        _, hard = resource.prlimit(pid, limit, (full, resource.RLIM_INFINITY))
        os.kill(pid, signal.SIGCONT)
        await until(lambda: scene.ledger.count("refused") > 0)
        resource.prlimit(pid, limit, (resource.RLIM_INFINITY, hard))
        process.join(PATIENCE_S)
        assert process.exitcode == 0
        await check(scene, case)
