"""A worker's process is killed (SIGKILL) in the middle of a call: another one finishes the run."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.run import fold
from agent.store import sql_journal
from flightloop.content import text_of
from flightloop.events import RunCreated
from flightloop.runs import Budget

ROOT = Path(__file__).parents[2]
CRASHING = Path(__file__).with_name("crashing.py")


def crash(database: str, ledger: Path, point: str, effect: str) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'agent' / 'sdk'}"}
    command = [sys.executable, str(CRASHING), database, str(ledger), point, effect]
    assert subprocess.run(command, env=environment, timeout=60, check=False).returncode == -signal.SIGKILL


async def recover(database: str, ledger: Path, effect: str, left: int) -> Any:
    spec = importlib.util.spec_from_file_location("crashing", CRASHING)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return await module.work(database, ledger, "never", effect, left=left)


@pytest.mark.parametrize(
    ("effect", "point", "attempts", "applied", "ok"),
    [
        ("pure", "after", 2, 2, True),
        ("keyed", "before", 2, 1, True),
        ("keyed", "after", 2, 1, True),
        ("transactional", "after", 2, 1, True),
        ("unsafe", "before", 1, 0, False),
        ("unsafe", "after", 1, 1, False),
        ("unsafe", "model", 1, 1, True),
    ],
)
async def test_a_killed_worker(tmp_path: Path, effect: str, point: str, attempts: int, applied: int, ok: bool) -> None:
    database, ledger = f"sqlite:///{tmp_path}/journal.db", tmp_path / "ledger"
    ledger.touch()
    journal = sql_journal(database)
    created = RunCreated(agent="helper", session_id="s", input="Charge my card.", budget=Budget())
    run = (await journal.create(created)).run
    crash(database, ledger, point, effect)
    before = await journal.events("default", run.id)
    assert "tool.intent" in [event.type for event in before]
    assert ("tool.result" in [event.type for event in before]) == (point == "model")

    model = await recover(database, ledger, effect, left=1)

    lines = ledger.read_text().splitlines()
    key = f"{run.id}:1:0"
    assert (lines.count(f"attempt {key}"), lines.count(f"applied {key}")) == (attempts, applied)
    assert len(lines) == attempts + applied
    events = await journal.events("default", run.id)
    assert events[: len(before)] == before
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    results = [event for event in events if event.type == "tool.result"]
    assert [result.ok for result in results] == [ok]
    assert ok or "unknown after a crash" in model.requests[0].messages[-1].text
    ended = await journal.get("default", run.id)
    assert (ended.status, text_of(ended.output or []), ended.usage.steps) == ("succeeded", "Charged.", 2)
    assert fold(events) == ended
    assert [event.fence for event in events if event.type == "run.started"] == [1, 2]
    await journal.close()
