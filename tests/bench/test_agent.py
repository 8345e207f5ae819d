"""The agent runtime's measurement: our runtime at small runs, others with invented costs, rows and page."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from rich.console import Console
from typer.testing import CliRunner

from bench.__main__ import app
from bench.agent.field import Case
from bench.agent.instant import instant
from bench.agent.run import Wish, measure
from bench.agent.subjects import AGAINST, PEERS, SUBJECTS, TARGETS
from bench.engine.page import BEGIN, END
from bench.errors import BenchError
from bench.peers.environment import RUNTIMES
from bench.peers.protocol import Desk
from bench.peers.run_flightloop import Flightloop
from bench.peers.stepping import ANSWER, Load, Orders, timed
from bench.rows import Row

Rows = Mapping[str, Row]
ROOT = Path(__file__).resolve().parents[2]


def measured(*against: str, lengths: Sequence[int], calls: Sequence[int] = (1,), docs: Path | None = None) -> Rows:
    wish = Wish(against, lengths, calls, rounds=1, total=100, resumes=0, docs=docs, stand_in="fake_runtime")
    return {row.name: row for row in measure(Console(file=io.StringIO()), wish)}


@pytest.fixture(scope="module")
def beside() -> Rows:
    return measured(*PEERS, lengths=(10, 50, 200))


def test_a_runs_last_step_is_its_answer() -> None:
    load = Load(runs=1, steps=3, calls=2)
    assert [list(load.numbers(step)) for step in range(4)] == [[0, 1], [2, 3], [], []]


@pytest.mark.parametrize("mode", ["durable", "memory", "guarded"])
def test_our_runtime_takes_the_runs_that_it_is_asked_for(tmp_path: Path, mode: str) -> None:
    desk = Desk(Flightloop({"folder": tmp_path}))
    task = {"task": "steps", "mode": mode, "runs": 2, "steps": 3, "calls": 2}
    answer = desk.answer(task)
    assert "error" not in answer, answer
    assert answer["steps"] == 6
    assert answer["cpu_seconds"] > 0
    assert (answer["bytes"] > 0) == (mode != "memory")
    assert list(tmp_path.iterdir()) == []


async def test_a_run_that_does_less_than_asked_is_an_error() -> None:
    orders = Orders()

    async def lazy() -> str:
        await orders.look_up(0)
        return ANSWER

    assert (await timed(Load(2, 2, 1), lazy, orders))["steps"] == 4
    with pytest.raises(RuntimeError, match="2 calls and then 'All orders"):
        await timed(Load(2, 3, 1), lazy, orders)


async def test_bytes_are_those_that_the_runs_have_written(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE notes (text)")
    orders = Orders()

    async def run() -> str:
        connection.execute("INSERT INTO notes VALUES (?)", ("x" * 10_000,))
        return ANSWER

    answer = await timed(Load(3, 1, 1), run, orders, tmp_path / "journal.db")
    assert 30_000 < answer["bytes"] < 50_000
    connection.close()


def test_each_of_our_modes_is_compared_with_its_like(beside: Rows) -> None:
    main = beside["step_cpu_50"]
    assert (main.peer, main.ratio) == (SUBJECTS["langgraph_sync"].shown, pytest.approx(1 / 25))
    assert beside["step_cpu_10_vs_langgraph_async"].ratio == pytest.approx(1 / 4)
    assert beside["step_wall_10_vs_dbos"].ratio == pytest.approx(1)
    assert beside["step_cpu_10_memory_vs_pydantic_ai"].ratio == pytest.approx(1)
    guarded = beside["step_cpu_10_guarded"]
    assert (guarded.value, guarded.ratio) == (pytest.approx(3000), pytest.approx(3))
    assert beside["step_bytes_50"].peer_value == pytest.approx(5000)
    assert "step_bytes_50_memory" not in beside
    assert beside["step_cpu_slope"].ratio == pytest.approx(1)
    assert beside["step_bytes_slope"].ratio == pytest.approx(1)
    assert beside["step_cpu_growth"].ratio == pytest.approx(1)
    assert set(TARGETS) - set(beside) == {"resume_seconds"}


def test_who_fails_costs_its_figures_only(beside: Rows) -> None:
    failed = beside["step_cpu_200"]
    assert (failed.value, failed.peer_value) == (pytest.approx(1000), None)
    assert "no memory for that" in (failed.note or "")
    assert beside["step_cpu_200_vs_dbos"].ratio == pytest.approx(1)


def test_ours_can_be_measured_alone_and_figures_go_into_the_page(tmp_path: Path) -> None:
    (tmp_path / "runtime.md").write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    rows = measured(lengths=(10,), calls=(1, 8), docs=tmp_path)
    assert rows["step_cpu_10_8"].peer_value is None
    assert "step_cpu_10_vs_dbos" not in rows
    text = (tmp_path / "runtime.md").read_text()
    assert "| 8 calls a step | 10 steps |" in text
    assert f"| {SUBJECTS['durable'].shown} | 1.00 (2.0; 1.0) |" in text
    assert f"| {SUBJECTS['memory'].shown} | 0.50 (1.0) |" in text
    assert BEGIN in (ROOT / "docs" / "runtime.md").read_text()


def test_runs_that_take_minutes_are_left_out() -> None:
    assert SUBJECTS["langgraph_sync"].takes(200, 1)
    assert not SUBJECTS["langgraph_sync"].takes(200, 8)
    assert SUBJECTS["durable"].takes(1000, 8)


def test_everybody_who_is_compared_with_takes_part() -> None:
    assert {name for peers in AGAINST.values() for name in peers} | set(AGAINST) == set(SUBJECTS)
    assert set(PEERS) == set(RUNTIMES)
    assert all((ROOT / "bench" / "peers" / f"run_{subject.program}.py").is_file() for subject in SUBJECTS.values())
    assert str(Case(10, 8)) == "10 steps of 8"


def test_the_model_server_answers_by_the_turns_that_it_is_shown() -> None:
    client = TestClient(instant(Load(runs=1, steps=2, calls=1)))
    asked = {"messages": [{"role": "user", "content": "?"}], "stream": True}
    assert '"tool_calls"' in client.post("/v1/chat/completions", json=asked).text
    asked["messages"].append({"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]})
    assert ANSWER in client.post("/v1/chat/completions", json=asked).text


def test_what_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="unknown peer 'tabby'; choose from langgraph, "):
        measured("tabby", lengths=(10,))
    with pytest.raises(BenchError, match="a run must have 2 to 1000 steps, not 1001"):
        measured(lengths=(10, 1001))
    assert CliRunner().invoke(app, ["agent", "--against", "tabby"]).exit_code != 0
