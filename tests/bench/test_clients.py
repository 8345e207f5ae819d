"""``python -m bench clients``: checks are read and counted, and the scripted model answers by its book."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from agent.serve.http_server import running
from bench.clients import run
from bench.clients.client import CLIENTS, FAKE, HERE, Check, tried
from bench.clients.conversations import UNKNOWN, Conversations
from bench.clients.run import Wish, figures, measure, row_of
from bench.errors import BenchError
from bench.peers.environment import CLIENTS as PYTHON
from bench.peers.node_environment import NODE_ENVIRONMENTS
from bench.rows import Row
from tests.console import free_port


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_checks_are_read_between_other_lines(tmp_path: Path) -> None:
    lines = [
        "a warning",
        json.dumps({"name": "a", "ok": True, "seen": "x"}),
        "[1]",
        "{}",
        '{"name": "b", "ok": 1, "seen": 2}',
    ]
    checks = tried(program(f"print({chr(10).join(lines)!r})"), {}, tmp_path / "log")
    assert checks == [Check("a", True, "x"), Check("b", False, "2")]


def test_a_program_that_fails_is_a_failed_check(tmp_path: Path) -> None:
    printed = json.dumps({"name": "a", "ok": True, "seen": "x"})
    failing = program(f"print({printed!r}, flush=True); raise SystemExit('out of order')")
    first, last = tried(failing, {}, tmp_path / "log")
    assert (first.ok, last.name, last.ok) == (True, "program", False)
    assert "exit status 1" in last.seen
    assert "out of order" in last.seen
    (silent,) = tried(program("pass"), {}, tmp_path / "log")
    assert not silent.ok


def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    hanging = program("import threading; threading.Event().wait()")
    checks = tried(hanging, {}, tmp_path / "log", timeout_s=0.5)
    assert checks == [Check("program", False, "was not done after 0.5 s")]


def test_a_client_sees_none_of_this_process_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    shown = "import json, os; print(json.dumps({'name': 'a', 'ok': True, 'seen': sorted(os.environ)}))"
    (check,) = tried(program(shown), {"URL": "http://x"}, tmp_path / "log")
    assert "'URL'" in check.seen
    assert "OPENAI_API_KEY" not in check.seen


def test_a_row_is_the_share_of_checks_that_held() -> None:
    row = row_of(FAKE, [Check("a", True, ""), Check("b", False, ""), Check("c", True, ""), Check("d", True, "")])
    assert (row.name, row.value, row.cases) == ("client_fake", 0.75, 4)
    assert "failed: b" in (row.note or "")
    assert "| fake | none | 3 of 4 | b |" in figures([row])


def test_each_client_has_programs_and_an_environment() -> None:
    for client in CLIENTS:
        assert all((HERE / program).is_file() for program in client.programs)
        assert (client.environment in PYTHON) != (client.environment in NODE_ENVIRONMENTS)
        assert client.packages


def test_an_unknown_client_is_named() -> None:
    with pytest.raises(BenchError, match="unknown client nobody; choose from openai, "):
        measure(Console(file=io.StringIO()), Wish(["nobody"]), done=lambda rows: None)


@pytest.mark.slow
def test_a_client_is_tried_against_a_started_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CLIENTS", (FAKE,))
    told, written = io.StringIO(), list[list[Row]]()
    rows = measure(Console(file=told, width=120), Wish(port=free_port()), done=lambda rows: written.append(list(rows)))
    assert [(row.name, row.value, row.cases) for row in rows] == [("client_fake", 0.5, 4)]
    assert written == [rows]
    assert "fake: 2 of 4 checks held" in told.getvalue()
    assert "ValueError: nothing came" in told.getvalue()


BOOK: dict[str, Any] = {
    "Add": [{"calls": [{"name": "add", "arguments": {"a": 1}}]}, {"text": "done"}],
    "Add more": [{"text": "more"}],
    "Fill": [{"fill": {"x": 1}}],
    "Fail": [{"status": 503, "times": 1}, {"text": "well"}],
}
SAID = {"role": "assistant", "content": "…"}


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([user("Please Add"), SAID], "done"),
        ([user("Please Add"), SAID, SAID, SAID], "done"),
        ([user("Add"), SAID, user("Fill")], '{"x": 1}'),
        ([user("Fill"), SAID, user("not known")], '{"x": 1}'),
        ([user([{"type": "text", "text": "Add more"}])], "more"),
        ([user("who?")], UNKNOWN),
    ],
)
def test_the_book_answers_the_latest_known_question(messages: list[dict[str, Any]], text: str) -> None:
    assert Conversations(BOOK).answer_to({"messages": messages}).text == text


def test_the_book_calls_and_fills_tools() -> None:
    model = Conversations(BOOK)
    assert model.answer_to({"messages": [user("Add")]}).calls == [{"name": "add", "arguments": '{"a": 1}'}]
    tools = [{"function": {"name": "first"}}, {"function": {"name": "second"}}]
    asked = {"messages": [user("Fill")], "tools": tools}
    assert model.answer_to(asked).calls == [{"name": "second", "arguments": '{"x": 1}'}]
    chosen = {**asked, "tool_choice": {"function": {"name": "first"}}}
    assert model.answer_to(chosen).calls == [{"name": "first", "arguments": '{"x": 1}'}]


def test_the_book_refuses_a_few_times_and_long_conversations_always() -> None:
    model = Conversations(BOOK)
    statuses = [model.answer_to({"messages": [user("Fail")]}).status for _ in range(4)]
    assert statuses == [503, 200, 503, 200]
    assert model.answer_to({"messages": [user("word " * 5000)]}).status == 400


async def test_an_endless_answer_ends_with_its_client() -> None:
    async with running(Conversations().app, grace_s=1) as url, httpx.AsyncClient(base_url=f"{url}/v1") as client:
        body = {"model": "scripted", "messages": [user("Count upwards for ever")], "stream": True}
        async with client.stream("POST", "/chat/completions", json=body) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            assert (await client.get("/endless")).json() == {"begun": 1, "left": 0}
        while (await client.get("/endless")).json()["left"] == 0:
            pass
